"""A configuration that cannot be run gives one clear error that names the key, and nothing is compiled."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcdev
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.simulation import forecast, group, reading

GOOD: dict[str, Any] = {
    "name": "good",
    "description": "every section",
    "device": {
        "preset": "wang2017_reduced",
        "friction": 4.0,
        "cooling_rate": "1 Hz",
        "background_temperature": {"distribution": "normal", "mean": "0.45 K", "sd": "0.01 K", "low": "0.3 K"},
        "drift": {"distribution": "lognormal", "median": 9.0, "sigma": 0.1},
        "integrator": {"scheme": "heun", "step": "auto"},
        "pinning_disorder": {"depth_sigma": 0.1},
    },
    "circuit": {"kind": "series_resistor", "resistance": "1 ohm", "compliance": "1 A"},
    "protocol": {
        "kind": "pulse_train",
        "amplitude": "4 V",
        "width": "20 ms",
        "period": "41 ms",
        "count": 4,
        "relaxation": "1 s",
        "samples_per_pulse": 8,
    },
    "ensemble": {"devices": 8, "cycles": 2, "seed": 3, "equilibration": "1 s", "precision": "float32"},
    "measurements": {
        "g": {"kind": "pulse_conductance", "relative": True},
        "mean": {"kind": "mean_conductance", "window": "gap"},
        "tau": {"kind": "relaxation_time", "by": "1/e", "fraction": 0.02},
        "ppf": {"kind": "paired_pulse", "second": 3},
    },
    "fits": {"e": {"kind": "arrhenius", "measurement": "tau", "axis": "device.background_temperature"}},
    "sweep": {
        "mode": "zip",
        "axes": {
            "device.background_temperature": ["0.40 K", "0.45 K", "0.50 K"],
            "protocol.amplitude": {"start": "2 V", "stop": "4 V", "count": 3, "spacing": "linear"},
        },
    },
    "output": {
        "directory": "runs",
        "trajectories": 4,
        "quantiles": [0.1, 0.9],
        "figures": False,
        "reference": [{"measurement": "g", "entry": 2, "point": 3, "value": 0.25, "source": "a paper"}],
    },
}
MISSING = object()
Path_ = tuple[str | int, ...]


@pytest.fixture(autouse=True)
def _nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> None:
        raise AssertionError("a program was asked for")

    for user in (group, reading, forecast):
        monkeypatch.setattr(user, "program", program)


def changed(path: Path_, value: Any) -> dict[str, Any]:
    """The good configuration with one value replaced, or removed."""
    data: Any = copy.deepcopy(GOOD)
    table = data
    for part in path[:-1]:
        table = table[part]
    if value is MISSING:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return data


def key(path: Path_) -> str:
    return ".".join(map(str, path))


def problems_of(data: dict[str, Any]) -> list[Problem]:
    with pytest.raises(mcdev.ConfigError) as caught:
        mcdev.build(data)
    assert caught.value.problems
    for problem in caught.value.problems:
        assert problem.message
        assert str(problem) in str(caught.value)
    return caught.value.problems


def names(problems: list[Problem], path: str) -> bool:
    """Whether some problem names this key path, or one below it; an axis of the sweep is written in quotes."""
    return any((p.key.replace('"', "") + ".").startswith(path + ".") for p in problems)


def test_the_good_one_is_good() -> None:
    assert len(mcdev.build(GOOD).points()) == 3


# ------------------------------------------------------------------------- a few hundred, generated


def leaves(node: Any, path: Path_ = ()) -> list[tuple[Path_, Any]]:
    """Every table, list and value below the root."""
    if isinstance(node, dict):
        inner: list[tuple[Any, Any]] = list(node.items())
    else:
        inner = list(enumerate(node)) if isinstance(node, list) else []
    found = [] if not path else [(path, node)]
    for step, below in inner:
        found += leaves(below, (*path, step))
    return found


WRONG_FOR_TEXT: list[Any] = [None, 5, 2.5, True, [], ["4 V"], {}, {"a": 1}, 10**400]
WRONG_FOR_QUANTITY: list[Any] = [
    *[
        "",
        " ",
        "4",
        "V",
        "four volts",
        "4 bananas",
        "4 kg",
        "1e999 V",
        "nan V",
        "4 V V",
        "4,0 V",
        "4 V; 5 V",
        "4 \u2603",
    ],
    *["4 m**9**9**9**9", "4 " + "x" * 5000, "\x00", "4 V\n[table]"],
]
WRONG_FOR_NUMBER: list[Any] = [
    None,
    "4",
    "4 V",
    "four",
    "",
    [],
    [1],
    {},
    {"a": 1},
    float("nan"),
    float("inf"),
    -float("inf"),
    10**400,
]
WRONG_FOR_COUNT: list[Any] = [*WRONG_FOR_NUMBER, True, 1.5, 0, -3, 10**12]
WRONG_FOR_SWITCH: list[Any] = [None, "yes", "true", 1, 0.0, [], {}]
WRONG_FOR_TABLE: list[Any] = [None, 0, 1.5, True, "", "table", [1], [{}]]
WRONG_FOR_LAW: list[Any] = [None, True, "", "4", [1], [{}], {"distribution": "nromal"}, {"mean": 1.0}]
WRONG_FOR_LIST: list[Any] = [None, 0, 1.5, True, "list", {"a": {}}]
COUNTS = {"count", "devices", "cycles", "seed", "trajectories", "samples_per_pulse", "second", "entry", "point"}
FREE_TEXT = {"description", "directory", "source"}
ZERO_IS_FINE = {"seed", "trajectories"}
OPTIONAL = {"entry", "compliance", "pinning_disorder"}
CONFLICTS = {
    "window",
    "second",
}  # wrong only beside the protocol: the measurement is named, once every section is valid


def wrong_values(path: Path_, value: Any) -> list[Any]:
    """Values that cannot stand at this key."""
    last = path[-1]
    if isinstance(value, dict):
        wrong = WRONG_FOR_LAW if "distribution" in value else WRONG_FOR_TABLE
        return [v for v in wrong if not (v is None and last in OPTIONAL)]
    if isinstance(value, list):
        return WRONG_FOR_LIST
    if isinstance(value, bool):
        return WRONG_FOR_SWITCH
    if last in COUNTS:
        return [
            v for v in WRONG_FOR_COUNT if not ((v is None and last in OPTIONAL) or (v == 0 and last in ZERO_IS_FINE))
        ]
    if isinstance(value, (int, float)):
        return WRONG_FOR_NUMBER
    if last in FREE_TEXT:
        return WRONG_FOR_TEXT
    if last == "preset":  # none at all is not wrong here: then the parameters are missing
        return [v for v in [*WRONG_FOR_TEXT, "wang2018"] if v is not None]
    if last in ("step", "compliance"):
        return [v for v in [*WRONG_FOR_TEXT, *WRONG_FOR_QUANTITY] if not (v is None and last in OPTIONAL)]
    return [*WRONG_FOR_TEXT, *WRONG_FOR_QUANTITY]


def typo(word: str, dice: random.Random) -> str:
    at = dice.randrange(len(word))
    return word[:at] + dice.choice(["", "x", word[at] * 2]) + word[at + 1 :]


def generated() -> list[Any]:
    """Of every key some wrong values, every table with a mistyped and with a missing key; the seed is fixed."""
    dice = random.Random(20170101)
    cases = []
    for path, value in leaves(GOOD):
        wrong = wrong_values(path, value)
        named = key(path[:-1] if path[-1] in CONFLICTS else path)
        for number in sorted(dice.sample(range(len(wrong)), min(5, len(wrong)))):
            cases.append(pytest.param(path, wrong[number], named, id=f"{key(path)}-{number}"))
        if isinstance(value, (dict, list)) or not isinstance(path[-1], str) or path[:2] == ("sweep", "axes"):
            continue
        new = typo(path[-1], dice)
        if new in ("low", "high") or new == path[-1]:
            continue
        cases.append(
            pytest.param((*path[:-1], new), value, key((*path[:-1], new)), id=f"typo-{key((*path[:-1], new))}")
        )
    return cases


GENERATED = generated()


def test_enough_are_generated() -> None:
    assert len(GENERATED) > 300


@pytest.mark.parametrize(("path", "value", "expected"), GENERATED)
def test_generated_mistake_is_named(path: Path_, value: Any, expected: str) -> None:
    found = problems_of(changed(path, value))
    axis = str(path[2]) if path[:2] == ("sweep", "axes") and len(path) > 2 else "no axis"
    assert names(found, expected) or any(axis in str(problem) for problem in found)


@pytest.mark.parametrize("seed", range(60))
def test_several_mistakes_are_reported_at_once(seed: int) -> None:
    """Three mistakes in three different sections: all are there."""
    dice = random.Random(seed)
    sections = dice.sample(["device", "circuit", "protocol", "ensemble", "measurements"], 3)
    data = copy.deepcopy(GOOD)
    expected = []
    for section in sections:
        choices = [
            (path, value)
            for path, value in leaves(GOOD[section], (section,))
            if len(path) > 1 and path[-1] not in CONFLICTS
        ]
        path, value = dice.choice(choices)
        table: Any = data
        for part in path[:-1]:
            table = table[part]
        table[path[-1]] = dice.choice(wrong_values(path, value))
        expected.append(key(path))
    found = problems_of(data)
    assert [path for path in expected if not names(found, path)] == [], [str(p)[:200] for p in found]


# ------------------------------------------------------------------------- forty, by hand


def at(*path: str | int) -> Callable[[Any], dict[str, Any]]:
    return lambda value: changed(path, value)


def without(*path: str | int) -> dict[str, Any]:
    return changed(path, MISSING)


BY_HAND: list[tuple[str, dict[str, Any], str, str]] = [
    ("mistyped section", at("devcie")({}), "devcie", "did you mean 'device'?"),
    ("mistyped parameter", at("device", "frictoin")(4.0), "device.frictoin", "did you mean 'friction'?"),
    ("mistyped preset", at("device", "preset")("wang2017_reducd"), "device.preset", "did you mean 'wang2017_reduced'"),
    ("mistyped protocol", at("protocol", "kind")("puls_train"), "protocol.kind", "did you mean 'pulse_train'"),
    ("protocol without kind", without("protocol", "kind"), "protocol.kind", "'triangular_sweep'"),
    ("mistyped circuit", at("circuit", "kind")("resistor"), "circuit.kind", "did you mean 'series_resistor'"),
    ("mistyped measurement", at("measurements", "x")({"kind": "ppf"}), "measurements.x.kind", "paired_pulse"),
    ("mistyped criterion", at("measurements", "tau", "by")("1e"), "measurements.tau.by", "did you mean '1/e'?"),
    (
        "mistyped scheme",
        at("device", "integrator", "scheme")("huen"),
        "device.integrator.scheme",
        "did you mean 'heun'?",
    ),
    ("mistyped precision", at("ensemble", "precision")("float46"), "ensemble.precision", "'float64'"),
    ("mistyped mode", at("sweep", "mode")("zpi"), "sweep.mode", "did you mean 'zip'?"),
    ("no device", without("device"), "device", "is missing"),
    ("no protocol", without("protocol"), "protocol", "is missing"),
    ("no measurements", at("measurements")({}), "measurements", "at least one"),
    ("no amplitude", without("protocol", "amplitude"), "protocol.amplitude", 'amplitude = "3.5 V"'),
    ("unit forgotten", at("protocol", "amplitude")(4), "protocol.amplitude", 'write it like "4 V"'),
    ("unit forgotten in quotes", at("protocol", "amplitude")("4"), "protocol.amplitude", 'write it like "4 V"'),
    ("wrong dimension", at("protocol", "width")("20 mV"), "protocol.width", "'mV' is a voltage"),
    ("no such unit", at("protocol", "width")("20 msec."), "protocol.width", "no known unit"),
    ("negative width", at("protocol", "width")("-20 ms"), "protocol.width", "> 0 s"),
    ("zero width", at("protocol", "width")("0 s"), "protocol.width", "> 0 s"),
    ("pulse longer than its period", at("protocol", "width")("42 ms"), "protocol.width", "width < period"),
    ("pulse as long as its period", at("protocol", "width")("41 ms"), "protocol.width", "width < period"),
    ("period and gap", at("protocol", "gap")("1 ms"), "protocol.period", "both are given"),
    ("neither period nor gap", without("protocol", "period"), "protocol.period", "neither is given"),
    ("no pulses", at("protocol", "count")(0), "protocol.count", "greater than or equal to 1"),
    ("zero devices", at("ensemble", "devices")(0), "ensemble.devices", "greater than or equal to 1"),
    ("devices in quotes", at("ensemble", "devices")("64"), "ensemble.devices", "integer"),
    ("true devices", at("ensemble", "devices")(True), "ensemble.devices", "integer"),
    ("half a device", at("ensemble", "devices")(1.5), "ensemble.devices", "integer"),
    ("seed beyond 32 bits", at("ensemble", "seed")(2**32), "ensemble.seed", "less than 4294967296"),
    ("unit where none is", at("device", "friction")("4 kg"), "device.friction", "without a unit"),
    ("absolute zero", at("device", "cooling_rate")("-273.15 degC"), "device.cooling_rate", "a temperature"),
    ("unknown law", at("device", "drift", "distribution")("cauchy"), "device.drift.distribution", "'lognormal'"),
    ("law lacks a key", without("device", "drift", "sigma"), "device.drift.sigma", "needs 'sigma'"),
    (
        "law crosses zero",
        without("device", "background_temperature", "low"),
        "device.background_temperature.low",
        "add low",
    ),
    ("wells overlap", at("device", "interfacial_width")(0.3), "device.interfacial_width", "overlap"),
    ("step too long", at("device", "integrator", "step")("1 s"), "device.integrator.step", "stability limit"),
    (
        "no kinetics with leimkuhler_matthews",
        at("device", "integrator", "scheme")("leimkuhler_matthews"),
        "device.integrator.scheme",
        "'heun'",
    ),
    ("no particle", at("device", "particles")(0), "device.particles", "1"),
    ("one particle on two sides", at("device", "particles")(1), "device.initial_split", "write initial_split = 1"),
    ("a well that repels", at("device", "interfacial_ratio")(-0.5), "device.interfacial_ratio", "≥ 0"),
    ("window it lacks", at("measurements", "v")({"kind": "hold_voltage"}), "measurements.v", "'positive_down'"),
    ("pulse it lacks", at("measurements", "ppf", "second")(9), "measurements.ppf", "pulse 9 of 4"),
    ("sweep of nothing", at("sweep", "axes")({"device.frction": [1.0]}), 'sweep.axes."device.frction"', "'friction'"),
    ("sweep of the name", at("sweep", "axes")({"name": ["a"]}), "sweep.axes.name", "can be swept"),
    (
        "sweep of the size",
        at("sweep", "axes")({"ensemble.devices": [1]}),
        'sweep.axes."ensemble.devices"',
        "cannot vary",
    ),
    (
        "axes of unequal length",
        at("sweep", "axes", "protocol.amplitude", "count")(4),
        "sweep.mode",
        "device.background_temperature: 3, protocol.amplitude: 4",
    ),
    ("empty axis", at("sweep", "axes", "protocol.amplitude")([]), 'sweep.axes."protocol.amplitude"', "at least one"),
    (
        "a bad value at one point",
        at("sweep", "axes", "protocol.amplitude")(["2 V", "3 V", "4 S"]),
        "protocol.amplitude",
        "(sweep point 3: ",
    ),
    (
        "range without its length",
        without("sweep", "axes", "protocol.amplitude", "count"),
        'sweep.axes."protocol.amplitude".count',
        "is missing",
    ),
    ("fit of nothing", at("fits", "e", "measurement")("tua"), "fits.e.measurement", "did you mean 'tau'?"),
    ("fit of a list", at("fits", "e", "measurement")("g"), "fits.e.measurement", "single number"),
    ("fit along nothing", at("fits", "e", "axis")("device.friction"), "fits.e.axis", "no such sweep axis"),
    ("fit along volts", at("fits", "e", "axis")("protocol.amplitude"), "fits.e.axis", "in K"),
    (
        "reference to nothing",
        at("output", "reference", 0, "measurement")("gg"),
        "output.reference.0.measurement",
        "did you mean 'g'?",
    ),
    ("reference past the end", at("output", "reference", 0, "entry")(5), "output.reference.0.entry", "between 1 and 4"),
    (
        "reference past the sweep",
        at("output", "reference", 0, "point")(4),
        "output.reference.0.point",
        "between 1 and 3",
    ),
    (
        "reference to an entry of a number",
        at("output", "reference", 0)({"measurement": "tau", "entry": 2, "value": "1 s", "source": "a paper"}),
        "output.reference.0.entry",
        "single number",
    ),
    ("reference in volts", at("output", "reference", 0, "value")("1 V"), "output.reference.0.value", "without a unit"),
    ("quantile above one", at("output", "quantiles")([0.5, 1.5]), "output.quantiles.1", "≤ 1"),
    ("path for a name", at("name")("../elsewhere"), "name", "letters, digits, _ - . and single blanks"),
    ("folder for a name", at("name")("a/b"), "name", "letters, digits, _ - . and single blanks"),
    ("backslash in a name", at("name")("a\\b"), "name", "letters, digits, _ - . and single blanks"),
    ("overlong name", at("name")("x" * 81), "name", "at most 80"),
    ("empty name", at("name")(""), "name", "at most 80 letters"),
]


@pytest.mark.parametrize(("data", "path", "phrase"), [pytest.param(*case[1:], id=case[0]) for case in BY_HAND])
def test_mistake_by_hand(data: dict[str, Any], path: str, phrase: str) -> None:
    found = problems_of(data)
    assert [p for p in found if p.key == path and phrase in p.message], [str(p) for p in found]


def test_an_error_shows_source_count_key_and_value(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "x"\nmeasurements = {}\n[device]\npreset = "wang2017_reduced"\nfriction = "4 V"\n')
    with pytest.raises(mcdev.ConfigError) as caught:
        mcdev.load(file)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{file}: {len(lines) - 1} errors"
    assert '  device.friction = "4 V": expected a number > 0; write it without quotes and without a unit' in lines


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (None, "cannot be read (No such file"),
        (b"", "protocol: is missing"),
        (b"name = \n", "is not valid TOML"),
        (b"a = [" * 100_000, "is not valid TOML"),
        (b"\xff\xfe\x00", "is not a UTF-8 text file"),
        (b"# " + b"x" * 2**24, "larger than 16 MiB"),
    ],
    ids=["missing", "empty", "no TOML", "deep", "binary", "large"],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes | None, phrase: str) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(mcdev.ConfigError, match=r"mine\.toml") as caught:
        mcdev.load(file)
    assert phrase in str(caught.value)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(mcdev.ConfigError, match="cannot be read"):
        mcdev.load(tmp_path)


@pytest.mark.parametrize("path", ["", ".", "device.", ".friction", "name.x", "device.friction.x", "nothing.at.all"])
def test_overrides_of_no_key(path: str) -> None:
    with pytest.raises(mcdev.ConfigError) as caught:
        mcdev.build(GOOD).with_({path: 1.0})
    assert any(p.key == path or path.startswith(p.key + ".") for p in caught.value.problems)


# ------------------------------------------------------------------------- waveforms from a file

WAVEFORM = {"name": "w", "device": {"preset": "wang2017_reduced"}, "measurements": {"g": {"kind": "mean_conductance"}}}


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (None, "cannot be read (No such file"),
        (b"", "0 rows"),
        (b"time,voltage\n", "0 rows"),
        (b"time,voltage\n0,1\n", "1 rows"),
        (b"0,0\n1,1\n1,2\n1,3\n", "line 4: a third row at time 1 s"),
        (b"1,0\n1,1\n", "all rows are at one time"),
        (b"t,v\n0,0\n2,1\n1,2\n", "line 4: time 1 s does not follow 2 s"),
        (b"0,0\n1,nan\n2,0\n", "line 2"),
        (b"0,0\ninf,1\n", "line 2"),
        (b"0,0\n1,one\n", "line 2 is '1,one'"),
        (b"0,0\n1;1\n", "line 2 is '1;1'"),
        (b"0,0\n1,1,1\n", "line 2"),
        (b"0,0\n1\n", "line 2"),
        (b"\x00\x01,\x02\n\x03,\x04\n", "line 1"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\n", "not a text file"),
        (b'0,0\n1,"' + b"9" * 200_000 + b'"\n', "line 2"),
    ],
    ids=[
        *[
            "missing",
            "empty",
            "only a header",
            "one row",
            "third row of one time",
            "no time at all",
            "backwards",
            "NaN",
            "infinite",
            "word",
            "semicolon",
        ],
        *["three columns", "one column", "control characters", "picture", "endless cell"],
    ],
)
def test_waveform_file_refused(tmp_path: Path, content: bytes | None, phrase: str) -> None:
    if content is not None:
        (tmp_path / "pulse.csv").write_bytes(content)
    with pytest.raises(mcdev.ConfigError) as caught:
        mcdev.build(WAVEFORM | {"protocol": {"kind": "waveform", "file": "pulse.csv"}}, folder=tmp_path)
    (problem,) = caught.value.problems
    assert problem.key == "protocol.file"
    assert problem.value == "pulse.csv"
    assert phrase in problem.message


@pytest.mark.parametrize(
    ("protocol", "path", "phrase"),
    [
        ({"file": 5}, "protocol.file", "expected a string"),
        ({"file": "x\x00y"}, "protocol.file", "null"),
        ({"file": "x" * 5000}, "protocol.file", "cannot be read"),
        ({"time": [0, 1], "voltage": [0]}, "protocol.voltage", "2"),
        ({"time": [0, 1], "voltage": [0, 1, 2]}, "protocol.voltage", "as many voltages as times (2)"),
        ({"time": [1, 2], "voltage": [0, 1]}, "protocol.time", "first time to be 0"),
        ({"time": [0, 2, 1], "voltage": [0, 1, 0]}, "protocol.time", "increasing times"),
        ({"time": [0, 1, 1, 1, 2], "voltage": [0, 1, 2, 3, 3]}, "protocol.time", "point 4 is a third"),
        ({"time": [0, 0], "voltage": [0, 1]}, "protocol.time", "all points are at one"),
        ({"time": [0, 1], "voltage": [0, -9.91e37]}, "protocol.voltage", "an instrument's infinity or none"),
        ({"file": "x.csv", "columns": {"time": 1.5}}, "protocol.columns.time", "expected"),
        ({"file": "x.csv", "unit": {}}, "protocol.unit", "no such key"),
        ({"time": [0, float("nan")], "voltage": [0, 1]}, "protocol.time.1", "finite"),
        ({"time": [0, "1 s"], "voltage": [0, 1]}, "protocol.time.1", "number"),
        ({"voltage": [0, 1]}, "protocol.time", "is missing"),
        ({"time": [0, 1], "voltage": [0, 1], "samples_per_point": 0}, "protocol.samples_per_point", "1"),
    ],
)
def test_waveform_refused(protocol: dict[str, Any], path: str, phrase: str) -> None:
    found = problems_of(WAVEFORM | {"protocol": {"kind": "waveform", **protocol}})
    assert [p for p in found if p.key == path and phrase in p.message], [str(p) for p in found]


# ------------------------------------------------------------------------------- one error, that which matters


PULSE = "configs/wang2017/fig3_physical_pulse.toml"


def problems_with(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        mcdev.load(Path(__file__).parents[1] / PULSE, {k.replace("__", "."): v for k, v in changes.items()})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(("kind", "needed"), [("waveform", "time, voltage"), ("hold", "duration")])
def test_a_kind_that_is_changed_alone_is_one_error(kind: str, needed: str) -> None:
    (said,) = problems_with(protocol__kind=kind)
    assert said.startswith(
        f'protocol.kind = "{kind}": a {kind} has no amplitude, width, rest, relaxation, read_voltage'
    )
    assert f"which a pulse has; it needs {needed}: write the whole table" in said


def test_one_key_too_many_is_still_named() -> None:
    (said,) = problems_with(protocol__widht="1 ms")
    assert "did you mean 'width'" in said
    assert len(problems_with(protocol__kind="hold", device__frictoin=4.0)) == 2


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("device.threshold_voltage", "1e-300 V", "none below 1e-09 V"),
        ("device.cooling_rate", "1e-300 Hz", "none below 1e-15 Hz"),
        ("device.maximum_conductance", "1e30 S", "none beyond 1e+06 S"),
        ("device.background_temperature", "9.9e37 K", "none beyond 1e+09 K"),
        ("protocol.amplitude", "9.8e37 V", "none beyond 1e+06 V"),
        ("protocol.read_voltage", "-2e6 V", "none beyond 1e+06 V"),
    ],
)
def test_what_cannot_be_built_or_applied_is_named_by_its_key(key: str, value: str, said: str) -> None:
    (problem,) = problems_with(**{key.replace(".", "__"): value})
    assert problem.startswith(f'{key} = "{value}": expected a')
    assert f"{said}; look at its unit and its power of ten" in problem


def test_a_distribution_and_a_waveform_are_held_to_the_same() -> None:
    law = {"distribution": "lognormal", "median": "1e7 V", "sigma": 0.1}
    (problem,) = problems_with(device__threshold_voltage=law)
    assert "none beyond 1e+06 V" in problem
    wave = {"kind": "waveform", "time": [0, 1], "voltage": [0.0, 2e6]}
    assert any("none is beyond 1e+06 V" in p for p in problems_with(protocol=wave))


def test_a_time_without_samples_is_one_error_whatever_refers_to_it() -> None:
    """The references of this configuration ask for the protocol's samples, too."""
    (said,) = problems_with(protocol__width="1e-30 s")
    assert "a sample of 0 s" in said


@pytest.mark.parametrize(
    ("address", "key", "phrase"),
    [
        ({"measurement": "g", "coefficient": "tau_1"}, "coefficient", "'g' is a measurement, not a fit"),
        ({"measurement": "f", "coefficient": "activation_energy", "entry": 3}, "entry", "leave the entry out"),
        ({"measurement": "list"}, "entry", "is missing; 'list' is a list; expected an entry between 1 and 3"),
    ],
)
def test_what_an_address_says_too_much_or_too_little(address: dict[str, Any], key: str, phrase: str) -> None:
    table = mcdev.presets()["wang2017_reduced"]["device"] | {"kind": "diffusive"}
    data = {
        "name": "t",
        "device": table,
        "protocol": {"kind": "pulse_train", "amplitude": "3 V", "width": "0.1 s", "gap": "0.1 s", "count": 3},
        "measurements": {"g": {"kind": "mean_conductance"}, "list": {"kind": "pulse_conductance"}},
        "fits": {"f": {"kind": "arrhenius", "measurement": "g", "axis": "device.background_temperature"}},
        "sweep": {"axes": {"device.background_temperature": ["0.40 K", "0.45 K", "0.5 K"]}},
        "output": {"reference": [address | {"value": "1 S", "source": "s"}]},
    }
    found = [p for p in problems_of(data) if p.key == f"output.reference.0.{key}"]
    assert found
    assert phrase in found[0].message
