"""Every parameter of every family does something, or its class declares that it only labels axes, and then a change
of it is warned of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import array, reduced
from test_one_state import DRIFT, VOLATILE

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.schema import typical

pytestmark = pytest.mark.usefixtures("unpolished")

SWEEP = {"kind": "triangular_sweep", "loops": 1, "samples_per_branch": 6}
OVERFULL = {"capacity_stiffness": 0.5, "capacity_content": 0.5}  # so that the capacity acts
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "diffusive": ({"preset": "wang2017_reduced", "particles": 4, **OVERFULL}, {"amplitude": "3 V", "rate": "3000 V/s"}),
    "diffusive_density": (
        {"preset": "wang2017_reduced", "kind": "diffusive_density", "mesh": {"cells": 60}, **OVERFULL},
        {"amplitude": "3 V", "rate": "300 V/s"},
    ),
    "diffusive_hopping": (
        {"preset": "wang2017_sioxny_device", "heating": 0.1, **OVERFULL},
        {"amplitude": "1 V", "rate": "300 V/s"},
    ),
    "omiec_compact": ({"preset": "device_p"}, {"amplitude": "4 V", "rate": "1 V/s"}),
    "omiec_pnp": ({"preset": "device_p_pnp"}, {"amplitude": "4 V", "rate": "1 V/s"}),
    "yakopcic": (DRIFT | {"positive_onset": 0.05}, {"amplitude": "0.8 V", "rate": "400 V/s"}),
    "volatile_threshold": (VOLATILE, {"amplitude": "1 V", "rate": "100 V/s"}),
}


def family(name: str) -> Experiment:
    device, sweep = FAMILIES[name]
    return mcdev.build(
        {
            "name": "t",
            "device": device,
            "protocol": SWEEP | sweep,
            "measurements": {"g": {"kind": "mean_conductance"}},
            "ensemble": {"devices": 1},
        }
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "diffusive" else pytest.mark.slow) for name in FAMILIES]
)
def test_every_parameter_acts_or_is_declared_a_label(name: str) -> None:
    """A run with a point for each parameter, changed there by a tenth, against one where none is: bit by bit the same
    courses are those of labels, and only of these."""
    experiment = family(name)
    assert experiment.device.kind == name
    units = experiment.device.parameters()
    known = {p: typical(getattr(experiment.device, p)) / unit.scale for p, unit in units.items()}
    changed = {p: 1.1 * v if v else 0.1 for p, v in known.items()}
    for p, unit in units.items():  # within its bounds
        above = [b for b in (unit.lt, unit.le) if b is not None]
        changed[p] = 0.9 * known[p] if above and changed[p] >= min(above) else changed[p]

    def written(p: str, value: float) -> Any:
        return f"{value!r} {units[p].unit}" if units[p].unit else value

    axes = {f"device.{p}": [written(p, changed[p] if p == q else known[p]) for q in ("", *known)] for p in known}
    swept = experiment.with_({"sweep.axes": axes, "sweep.mode": "zip"})
    same = unchanged(mcdev.run(swept), list(known), [*experiment.channels])
    if experiment.device.small_signal:  # some act on a spectrum alone
        spectrum = {"kind": "impedance", "per_decade": 1, "samples": 2, "settling": "1 ms"}
        same &= unchanged(mcdev.run(swept.with_({"protocol": spectrum})), list(known), [*experiment.channels])
    assert same == set(experiment.device.labels)


def unchanged(tree: xr.DataTree, names: list[str], channels: list[str]) -> set[str]:
    """The parameters at whose point every course and every impedance is bit by bit that of the first point."""
    courses = [array(tree, f"response/{channel}").values for channel in ("current", "conductance", *channels)]
    if "resistance" in tree["spectrum"].dataset:
        courses += [array(tree, f"spectrum/{part}").values for part in ("resistance", "reactance")]
    return {
        name
        for i, name in enumerate(names, start=1)
        if all(np.array_equal(course[i], course[0], equal_nan=True) for course in courses)
    }


DRAWN = {"distribution": "lognormal", "median": "1 m", "sigma": 0.1}


@pytest.mark.parametrize(
    "changes",
    [
        {"device.half_gap": "3 m"},
        {"device.half_gap": DRAWN},
        {"sweep.axes": {"device.half_gap": ["5 nm", "10 nm"]}},
        {"ensemble.cycle_to_cycle": {"half_gap": 0.1}},
    ],
    ids=["changed", "drawn", "swept", "from cycle to cycle"],
)
def test_a_label_that_is_changed_is_warned_of(changes: dict[str, Any]) -> None:
    warned = [text for text in reduced().with_(changes).warnings() if text.startswith("device.half_gap: ")]
    assert len(warned) == 1
    for key in ("tunnelling_length", "interfacial_centre", "interfacial_width", "pinning_period", "friction"):
        assert f"device.{key}" in warned[0]


def test_a_preset_is_not_warned_of() -> None:
    assert not any("half_gap" in text for text in reduced().warnings())
    swept = reduced().with_({"sweep.axes": {"device.preset": ["wang2017_reduced", "wang2017_sioxny_ag"]}})
    assert not any("half_gap" in text for text in swept.warnings())


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [("omiec_compact", "relative_permittivity", [3.0, 30.0]), ("omiec_pnp", "fast_rate", ["1 Hz", "100 Hz"])],
)
def test_a_parameter_without_effect_here_is_warned_of(name: str, key: str, values: list[Any]) -> None:
    quiet = family(name)
    assert not [w for w in quiet.warnings() if "no result changes" in w]
    data = quiet.to_dict()
    data["sweep"] = {"axes": {f"device.{key}": values}}
    (warning,) = [w for w in mcdev.build(data).warnings() if "no result changes" in w]
    assert warning.startswith(f"device.{key}: ")
