"""``mcdev look``: what it says of a file is true, and the lines that it prints are a configuration."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ended

import mcdev
from mcdev.calibration import resolve
from mcdev.measured import Layout
from mcdev.measured.look import look, value

DATA = Path(__file__).parent / "data" / "instruments"


def planted(path: Path, cycles: int = 3) -> None:
    """Sweeps as a source meter of another country writes them: decimal commas, current counted the other way, a
    compliance of 0.3 mA, a reading that overflowed, an offset of the time."""
    rng = np.random.default_rng(0)
    voltage = np.concatenate([np.linspace(0, 2, 101), np.linspace(2, 0, 101)])
    lines = ["Messung vom Dienstag", "Zeit (s);Voltage (V);Current (mA)"]
    for cycle in range(cycles):
        current = (1 + 0.1 * cycle) * 1e-4 * voltage**3 * (1 + 0.005 * rng.standard_normal(voltage.size))
        current = np.minimum(current + 2e-7 * rng.standard_normal(voltage.size), 3e-4)
        for k, (v, i) in enumerate(zip(voltage, current, strict=True)):
            lines.append(f"{2.5 + 0.01 * k:.4f};{v:.4f};{-1e3 * i:.6e}".replace(".", ","))
    lines[50] = lines[50].rsplit(";", 1)[0] + ";-9,91e37"
    path.write_text("\n".join(lines), encoding="latin-1")


def test_what_an_instrument_does_to_numbers_is_said(tmp_path: Path) -> None:
    planted(tmp_path / "sweep.csv")
    seen = look(tmp_path / "sweep.csv", Layout(columns={"time": "Zeit"}))
    assert seen.problem == ""
    text = "\n".join(seen.lines)
    for said in (
        "format: text, a table as plain text",
        "line 1 is words above the header, passed over",
        "numbers have a decimal comma",
        "current: column 3, 'Current (mA)', in mA: from -300 uA",
        "rows: 606, in 3 cycles of 202 rows",
        "sampling: a row every 10 ms; the first row is at 2.5 s",
        "missing: 1 currents are an instrument's infinity or no number",
        "ceiling: -300 uA in ",
        "sign: current and voltage have opposite signs (I·V < 0) in 97 % of the rows",
        'units = { current = "-1 mA" }',
        "noise: about ",
    ):
        assert said in text
    turned = look(tmp_path / "sweep.csv", Layout(columns={"time": "Zeit"}, units={"current": "-1 mA"}))
    assert "sign:" not in "\n".join(turned.lines)
    assert turned.recording is not None
    assert np.nanmax(turned.recording.values["current"]) == pytest.approx(3e-4)


def test_the_lines_are_a_configuration_that_reads_the_same(tmp_path: Path) -> None:
    planted(tmp_path / "sweep.csv", cycles=2)
    seen = look(tmp_path / "sweep.csv", Layout(columns={"time": "Zeit"}, units={"current": "-1 mA"}))
    assert seen.recording is not None
    data = tomllib.loads(seen.toml)
    (curve,) = data["curves"]
    assert curve["ceiling"] == "300 uA"
    job = {
        "name": "curve",
        "device": {"preset": "device_p"},
        "parameters": {"device.capacitance": {}},
        "curves": [curve | {"cycle": 2}],
    }
    (trace,) = resolve(job, tmp_path).traces
    second = seen.recording.cycle(1)
    np.testing.assert_allclose(trace.current, second.values["current"][1:], rtol=1e-15)
    np.testing.assert_array_equal(trace.bound, second.censored[1:])
    wave = {
        "name": "wave",
        "device": {"preset": "device_p"},
        "protocol": data["protocol"],
        "measurements": {"g": {"kind": "mean_conductance"}},
    }
    protocol: Any = mcdev.build(wave, folder=tmp_path).protocol
    np.testing.assert_allclose(protocol.voltage, second.values["voltage"], rtol=1e-12)
    np.testing.assert_allclose(np.diff(protocol.time), 0.01, rtol=1e-6)


def test_the_command_prints_draws_and_asks(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    ended = mcdev_main("look", DATA / "keithley_4200.csv", DATA / "zplot.z", "--out", tmp_path)
    assert ended.code == 0
    assert "keithley_4200, Keithley 4200" in ended.out
    assert 'format = "keithley_4200"' in ended.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keithley_4200.csv.png", "zplot.z.png"]
    ended = mcdev_main("look", DATA / "rigol.csv", "--no-picture")
    assert ended.code == 2
    assert "columns: 1 'Time', 2 'CH1', 3 'CH2'" in ended.out
    assert 'add columns = { voltage = "…" }' in ended.err
    given = ["--read", "columns.voltage=CH1", "--read", "columns.current=CH2", "--read", "units.current=1 mA"]
    ended = mcdev_main("look", DATA / "rigol.csv", "--no-picture", *given)
    assert ended.code == 0
    assert 'columns = { voltage = "CH1", current = "CH2" }' in ended.out
    ended = mcdev_main("look", DATA / "rigol.csv", "--read", "colums.time=1")
    assert ended.code == 2
    assert "colums" in ended.err


def test_looking_and_drawing_need_no_jax(tmp_path: Path) -> None:
    code = (
        "import contextlib, sys\n"
        f"sys.argv = ['mcdev', 'look', {str(DATA / 'tektronix.csv')!r}, '--out', {str(tmp_path)!r}]\n"
        "from mcdev.__main__ import main\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "print([n for n in ('jax', 'xarray', 'h5py', 'scipy.stats') if n in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert (tmp_path / "tektronix.csv.png").is_file()


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [(2.5e-3, "A", "2.5 mA"), (0.0, "V", "0 V"), (1.23456e-13, "A", "0.1235 pA"), (1e-3, "s", "1 ms"), (5.0, "", "5")],
)
def test_numbers_have_the_prefix_that_suits_them(number: float, unit: str, text: str) -> None:
    assert value(number, unit) == text


# ------------------------------------------------------------------------------- in a calibration


def job_of(path: Path, current: np.ndarray, **curve: Any) -> dict[str, Any]:
    rows = [f"{0.1 * k!r},{1.0 + 0.1 * k!r},{float(i)!r}" for k, i in enumerate(current)]
    path.write_text("\n".join(["time (s),voltage (V),current (A)", *rows]))
    return {
        "name": "curve",
        "device": {"preset": "device_p"},
        "parameters": {"device.capacitance": {}},
        "curves": [{"file": path.name, **curve}],
    }


def test_noise_is_one_number_or_a_floor_and_a_share_in_ranges(tmp_path: Path) -> None:
    current = np.array([0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5])

    def noise(given: Any) -> np.ndarray:
        return resolve(job_of(tmp_path / "x.csv", current, noise=given), tmp_path).traces[0].noise

    np.testing.assert_array_equal(noise("2 nA"), np.full(5, 2e-9))
    np.testing.assert_allclose(noise({"floor": "1 nA", "share": "1 %"}), 1e-9 + 0.01 * current[1:], rtol=1e-15)
    ranges = [{"floor": "10 pA", "share": 0.02, "up_to": "100 nA"}, {"floor": "3 nA"}]
    np.testing.assert_allclose(noise(ranges), [3e-11, 2.1e-10, 2.01e-9, 3e-9, 3e-9], rtol=1e-12)
    for wrong, said in (
        ([{"floor": "1 nA"}, {"floor": "1 nA"}], "every range but the last to say up_to"),
        ([{"floor": "1 nA", "up_to": "1 uA"}, {"floor": "1 nA", "up_to": "1 nA"}], "> 1e-06 A"),
        ([{"floor": "1 nA", "up_to": "1 uA"}], "a current of 1e-05 A lies beyond the last range"),
        ({"floor": "1 nV"}, "expected a current"),
    ):
        with pytest.raises(mcdev.ConfigError) as caught:
            noise(wrong)
        (problem,) = caught.value.problems
        assert problem.key == "curves.0.noise"
        assert said in problem.message


def test_a_bound_is_no_difference_where_the_simulated_current_lies_beyond_it(tmp_path: Path) -> None:
    current = np.array([0, 1, 2, 3, 3, 3, 3, 3, 3, 2]) * 1e-6
    plan = resolve(job_of(tmp_path / "x.csv", current, noise="1 nA"), tmp_path)
    (trace,) = plan.traces
    np.testing.assert_array_equal(trace.bound, [0, 0, 1, 1, 1, 1, 1, 1, 0])
    assert any("6 of 9 currents are at the instrument's limit and count as bounds" in w for w in plan.warnings)
    away, telling = trace.away(trace.current + 1e-7)
    np.testing.assert_array_equal(telling, trace.bound == 0)
    np.testing.assert_allclose(away, np.where(trace.bound == 0, 1e-7, 0), atol=1e-20)
    away, telling = trace.away(trace.current - 1e-7)
    assert telling.all()
    np.testing.assert_allclose(away, -1e-7, rtol=1e-6)
    (free,) = resolve(job_of(tmp_path / "x.csv", current, noise="1 nA", ceiling="none"), tmp_path).traces
    assert not free.bound.any()


@pytest.mark.slow
def test_a_curve_cut_off_at_a_compliance_gives_the_parameter_that_made_it(tmp_path: Path) -> None:
    """Fitted as readings, the currents at the limit pull the parameter away; as bounds they do not."""
    device = {"preset": "device_p"}
    rows = np.linspace(0, 4, 41)
    wave = {"kind": "waveform", "time": [0.0, *np.repeat(rows[1:-1], 2).tolist(), 4.0],
            "voltage": np.repeat(np.linspace(0.1, 3.5, 40), 2).tolist()}  # fmt: skip
    data = {
        "name": "truth",
        "device": device,
        "protocol": wave,
        "measurements": {"g": {"kind": "mean_conductance"}},
        "ensemble": {"devices": 1},
    }
    truth: Any = mcdev.build(data)
    current = mcdev.run(truth)["response/current"].values[0, 0]
    limit = float(np.quantile(current, 0.6))
    seen = np.minimum(current, limit)
    lines = [f"{t!r},{v!r},{i!r}" for t, v, i in zip(rows[1:].tolist(), np.linspace(0.1, 3.5, 40).tolist(),
                                                     seen.tolist(), strict=True)]  # fmt: skip
    (tmp_path / "x.csv").write_text("\n".join(["time (s),voltage (V),current (A)", "0.0,0.1,", *lines]))
    noise = 0.01 * limit
    own = {"device.capacitance": {"start": f"{2 * truth.device.capacitance} F/m^2"}}

    def fitted(ceiling: str) -> float:
        job = {
            "name": "cut",
            "device": device,
            "parameters": own,
            "curves": [{"file": "x.csv", "noise": f"{noise} A", "ceiling": ceiling}],
        }
        outcome = mcdev.calibration.calibrate(resolve(job, tmp_path))
        return float(outcome.plan.values(outcome.best.u)[0] / truth.device.capacitance)

    assert fitted(f"{limit} A") == pytest.approx(1.0, rel=1e-3)
    assert abs(fitted("none") - 1.0) > 0.05
