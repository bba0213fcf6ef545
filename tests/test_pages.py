"""Getting started and the how-to pages, word for word: the files that they show are written, their commands are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[1] / "docs"
START = DOCS / "start.md"
PAGES = [START, *sorted(DOCS.glob("how/*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that a block is, which its first line says."""
        found = re.match(r"[#*] ([\w.]+\.(?:toml|csv|py|cir))\n", self.text)
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def test_the_pages_show_files_and_commands() -> None:
    found = [block for page in PAGES for block in blocks(page)]
    assert len({block.file for block in found if block.file}) >= 12
    assert sum(block.language == "sh" for block in found) >= 12
    every = [block for block in found if block.language == "toml"]
    assert [block.text for block in every if block.file is None] == []
    for block in every:
        tomllib.loads(block.text)


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed_word_for_word(page: Path, tmp_path: Path) -> None:
    programs = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": programs + os.pathsep + os.environ["PATH"], "MPLBACKEND": "Agg"}
    for block in blocks(START):  # whose files other pages go on from
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            command = ["bash", "-euo", "pipefail", "-c", block.text]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
