"""The reference of the site is written from the code: nothing that a configuration may hold is missing, and every key
says what it means."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

import mcdev
from mcdev.calibration import load_job
from mcdev.calibration.job import Job
from mcdev.circuits import CIRCUITS
from mcdev.circuits.elements import ELEMENTS
from mcdev.configuration.describes import describes
from mcdev.configuration.experiment import Experiment
from mcdev.devices import DEVICES
from mcdev.figures.pictures import PICTURES
from mcdev.fits import FITS
from mcdev.kinds import name_of
from mcdev.measured.instruments import INSTRUMENTS
from mcdev.measurements import MEASUREMENTS
from mcdev.measurements.contract import STATUS_MEANINGS
from mcdev.protocols import PROTOCOLS
from mcdev.schema.meanings import meaning
from mcdev.study import Study, load_study

CONFIGS = Path(__file__).parents[1] / "configs"
KINDS = [kind for kinds in (DEVICES, CIRCUITS, ELEMENTS, PROTOCOLS, MEASUREMENTS, FITS) for kind in kinds]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    found = importlib.util.spec_from_file_location("reference", Path(__file__).parents[1] / "docs" / "reference.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(reference: ModuleType) -> dict[str, str]:
    made: dict[str, str] = reference.pages()
    return made


def tables(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for each in sys.modules["tables_of_keys"].tables_in(field):
            yield from tables(each)


@pytest.mark.usefixtures("reference")
def test_every_key_says_what_it_means() -> None:
    every = [table for model in (Experiment, Job, Study, *KINDS) for table in tables(model)]
    assert len(set(every)) > 80
    silent = {
        f"{table.__name__}.{key}"
        for table in every
        for key in table.model_fields
        if key != "kind" and not meaning(table, key)
    }
    assert silent == set()
    assert [table.__name__ for table in every if not table.__doc__] == []


def test_every_kind_stands_there_with_all_its_keys(pages: dict[str, str]) -> None:
    parts = [part for page in pages.values() for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]]
    sections = {part.split("\n", 1)[0]: part for part in parts}
    common = ("kind", "element", "node")
    missing = {
        f"{name_of(kind)}.{key}"
        for kind in KINDS
        for key in kind.model_fields
        if key not in common and f"| `{key}` |" not in sections[name_of(kind)]
    }
    assert missing == set()


def test_units_defaults_ranges_and_choices(pages: dict[str, str]) -> None:
    """Of a quantity, a share, a number of samples, a word."""
    of = {row.split(" | ")[0]: row for page in ("protocols", "measurements") for row in pages[page].splitlines()}
    assert of["| `rate`"].startswith("| `rate` | V/s | must be given | > 0 |")
    assert of["| `fraction`"].startswith("| `fraction` | 1 | `0.1` | > 0 and < 1 |")
    assert of["| `samples_per_branch`"].startswith(
        "| `samples_per_branch` |  | `100` | a whole number, ≥ 4 and ≤ 100 000 |"
    )
    assert of["| `by`"].startswith("| `by` |  | `fraction` | `fraction`, `1/e`, `exponential_fit` |")
    assert "Criterion: from the start of pulse 1 to the first passage of G = 0.1 G_max." in pages["measurements"]
    assert all(f"`{word}`" in pages["measurements"] for word in STATUS_MEANINGS.split())


def test_what_else_has_a_name_stands_there(pages: dict[str, str]) -> None:
    assert [name for name in mcdev.__all__ if f"mcdev.{name}" not in pages["python"]] == []
    assert [name for name in mcdev.presets() if f"\n## {name}\n" not in pages["presets"]] == []
    assert [each.NAME for each in PICTURES if f"`{each.NAME}`" not in pages["pictures"]] == []
    assert [name_of(kind) for kind in INSTRUMENTS if f"`{name_of(kind)}`" not in pages["files"]] == []
    for command in ("run", "calibrate", "list", "show", "diff", "remove", "stats", "compare", "plot", "export", "new"):
        assert f"\n## mcdev {command}\n" in pages["command_line"]
    assert "`--resume`" in pages["command_line"]


def test_the_gallery_is_complete(reference: ModuleType, pages: dict[str, str]) -> None:
    """Each example is a configuration that is shipped, which the changes suit, and its picture is here. Every figure of
    the papers that can be simulated has one."""
    examples = [example for of in reference.pictures.EXAMPLES.values() for example in of]
    assert [example.name for example in examples if not example.image.exists()] == []
    for example in examples:
        file, what = CONFIGS / example.file, describes(CONFIGS / example.file)
        if what == "study":
            assert load_study(file).members
            assert not example.changes
        elif what == "calibration":
            assert load_job(file).goals
            assert not example.changes
        else:
            assert mcdev.load(file).with_(example.changes).points()
        command = "calibrate" if what == "calibration" else "run"
        assert f"\nmcdev {command} configs/{example.file}" in pages["gallery"]
        assert f"/{example.image.name})" in pages["gallery"]
    figures = {path.stem for folder in ("wang2017", "shin2022") for path in (CONFIGS / folder).glob("fig*.toml")}
    assert figures - {example.name for example in examples} == set()


def test_text_is_no_markup(reference: ModuleType) -> None:
    assert reference.markdown("``a*b`` of :func:`pairs`, a*b < c [d]") == r"`a*b` of `pairs`, a\*b \< c \[d\]"
    doc = "See docs/numerics.md.\n\n        x*y\n\n    End."
    assert reference.markdown(doc) == "See [numerics](../numerics.md).\n\n    x*y\n\nEnd."
