"""The notebooks run as plain scripts, with what stands in their cells of parameters made small; what they find is what
must be true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jupytext
import numpy as np
import pytest
from matplotlib import pyplot

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.py"))


def run(name: str, sizes: str) -> dict[str, Any]:
    """The names that a notebook leaves, run with ``sizes`` in place of its cell of parameters."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    small, count = re.subn(r'(# %% tags=\["parameters"\]\n).*?\n\n', rf"\1{sizes}\n\n", text, count=1, flags=re.DOTALL)
    assert count == 1
    names: dict[str, Any] = {"__name__": name}
    exec(compile(small, f"{name}.py", "exec"), names)
    pyplot.close("all")
    return names


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_is_a_notebook(name: str) -> None:
    """Jupytext reads it and would write the same; a title comes first, and one cell holds the sizes."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    notebook = jupytext.reads(text, "py:percent")
    assert jupytext.writes(notebook, "py:percent").split("# ---\n")[2] == text.split("# ---\n")[2]
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert "jupytext_version" not in text  # which would change with every version


def test_a_first_run() -> None:
    found = run("first_run", "devices = 16")
    assert len(found["table"]) == 16
    assert found["after_five"] > 0  # what relaxes slowly keeps more
    assert "train_response" in found["pictures"]


@pytest.mark.slow
def test_a_sweep_and_a_picture() -> None:
    found = run("sweep_and_picture", "devices, intervals = 16, 5")
    middle = found["middle"]
    assert (np.diff(middle) < 0).all()  # the longer the devices have, the more they forget
    assert (found["low"] <= middle).all()


@pytest.mark.slow
def test_a_calibration_finds_what_was_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))
    parameters = run("calibration", "samples, starts = 250, 2")["fitted"]["parameters"].dataset
    low, value, high = (float(parameters[key].values[0]) for key in ("low", "value", "high"))
    assert low < 0.1293 < high  # F/m^2
    assert high - low < 0.3 * value


@pytest.mark.slow
def test_a_reservoir_remembers_and_forgets() -> None:
    """It does what no linear function of the pulses could; after eight pulses it has forgotten."""
    found = run("reservoir", "devices, pulses = 64, 600")
    memory, product = found["errors"].values()
    assert np.median(memory[0]) < 0.3
    assert np.median(memory[1]) < 0.7
    assert np.median(memory[-1]) > 0.9
    assert np.median(product[0]) < 0.8
    assert found["error"](np.zeros((600, 1)), found["u"], np.zeros(2)) > 1.0
    assert 1.0 < np.median(found["capacity"]) < 16
