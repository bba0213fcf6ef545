"""Results of circuits whose elements had no names yet: read as what they were, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import MEAN
from test_one_state import VOLATILE

import mcdev
from mcdev.files.whole_file import ResultsError
from mcdev.results.file import FILE_NAME

pytestmark = pytest.mark.usefixtures("unpolished")

PULSE = {"kind": "pulse", "amplitude": "1 V", "width": "10 ms", "relaxation": "10 ms"}


def as_then(folder: Path, circuit: dict[str, Any], named: bool = False) -> None:
    """Results without what a circuit's elements have by having names; ``named``: but for the key ``record``."""
    parts = {"name": "old", "device": VOLATILE, "protocol": PULSE, "measurements": MEAN, "ensemble": {"devices": 2}}
    mcdev.write(mcdev.run(mcdev.build(parts | {"circuit": circuit})), folder)
    with h5py.File(folder / FILE_NAME, "r+") as file:
        for group in ("response", "trajectories"):
            for name in [name for name in file[group] if name.startswith("kirchhoff_residual")]:
                del file[group][name]
        if not named:
            text = file["config/toml"][()].decode()
            assert "record = []\n" in text
            file["config/toml"][()] = text.replace("record = []\n", "")


def test_a_resistors_current_left_over_was_not_recorded(tmp_path: Path) -> None:
    as_then(tmp_path, {"kind": "series_resistor", "resistance": "10 kohm"})
    tree = mcdev.read(tmp_path)
    for name in ("response/kirchhoff_residual", "trajectories/kirchhoff_residual"):
        assert np.all(np.isnan(tree[name].values))
    assert np.all(np.isfinite(tree["response/current"].values))


def test_a_file_of_today_without_it_is_damaged(tmp_path: Path) -> None:
    as_then(tmp_path, {"kind": "series_resistor", "resistance": "10 kohm"}, named=True)
    with pytest.raises(ResultsError, match="kirchhoff_residual"):
        mcdev.read(tmp_path)


def test_the_second_memristors_former_names_are_refused(tmp_path: Path) -> None:
    as_then(tmp_path, {"kind": "series_memristor", "memristor": VOLATILE, "record": []})
    with pytest.raises(ResultsError, match="older mcdev, which called the second memristor's channels otherwise"):
        mcdev.read(tmp_path)
