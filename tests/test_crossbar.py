"""Crossbars: currents against dense algebra, closed forms and ngspice; what a sweep over sizes needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from test_export import level_1
from test_export_pair import alone
from test_network import FROZEN, Ohms, Sinh, hold, table
from test_one_state import DRIFT

import mcdev
from mcdev.circuits import crossbar
from mcdev.circuits.crossbar import Crossbar
from mcdev.export import model_of, ngspice, subcircuit
from mcdev.export.swarm_fit import relative_rms
from mcdev.figures import read_margin
from mcdev.integrators.nodal import Sources, solve
from mcdev.machine.environment import computing
from mcdev.machine.memory import NotEnoughMemory
from mcdev.schema import typical
from mcdev.simulation.ensemble import check_memory, simulate
from mcdev.simulation.trial import trials

pytestmark = pytest.mark.usefixtures("unpolished")

WIDE = {"distribution": "lognormal", "median": "1 uS", "sigma": 1.0}
CELLS = FROZEN | {"off_conductance": WIDE}
"""Conductors, each of its own."""
SENSE = {"i": {"kind": "mean_current", "element": "sense"}, "out": {"kind": "mean_current", "element": "drive"}}


def run(device: dict[str, Any], circuit: dict[str, Any], **more: Any) -> xr.DataTree:
    wired = {"kind": "crossbar"} | circuit
    protocol = hold("1 V", "1 us", 2)
    return mcdev.run(mcdev.build(table(device, wired, protocol, **({"measurements": SENSE} | more))))


def value(tree: xr.DataTree, name: str) -> np.ndarray:
    return np.asarray(tree[f"measurements/{name}"]["value"].values[0, :, 0], float)


# ------------------------------------------------------------------------------- linear cells


LINE = 7.0


def dense(conductance: np.ndarray, line: float, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Currents out of the bit lines' ends, with conductances [row, column], segments of ``line`` ohms, and the
    voltages at the lines' driven ends; NaN at an end that is left open. Bit lines are driven next to the first row."""
    m, n = conductance.shape
    word = np.arange(m * n).reshape(m, n)
    bit = word + m * n
    a, b = np.zeros((2 * m * n, 2 * m * n)), np.zeros(2 * m * n)

    def join(p: int, q: int, g: float) -> None:
        a[[p, q], [p, q]] += g
        a[[p, q], [q, p]] -= g

    for i in range(m):
        for j in range(n):
            join(word[i, j], bit[i, j], conductance[i, j])
            if j:
                join(word[i, j - 1], word[i, j], 1 / line)
            if i:
                join(bit[i - 1, j], bit[i, j], 1 / line)
    for ends, volts in ((word[:, 0], rows), (bit[0], columns)):
        for node, v in zip(ends, volts, strict=True):
            if np.isfinite(v):
                a[node, node] += 1 / line
                b[node] += v / line
    x = np.linalg.solve(a, b)
    return np.asarray((x[bit[0]] - columns) / line)


def ends(wired: Crossbar) -> tuple[np.ndarray, np.ndarray]:
    """Voltages at the lines' ends, for one volt."""
    row, column = wired.selected
    shares = {"V/2": (0.5, 0.5), "V/3": (1 / 3, 2 / 3), "floating": (np.nan, np.nan)}[wired.scheme]
    rows, columns = np.full(wired.rows, shares[0]), np.full(wired.columns or wired.rows, shares[1])
    rows[row - 1], columns[column - 1] = 1.0, 0.0
    return rows, columns


class Currents(NamedTuple):
    sense: float
    drive: float
    residual: float
    """As a share of the largest current of an element."""


def conducting(wired: Crossbar, cells: Mapping[str, float], law: Any = Ohms) -> Currents:
    """The array under one volt, with the conductance of each cell."""
    segments = sum(len(names) for names in wired.conductors.values())
    line = 1.0 / typical(wired.line_resistance) if wired.line_resistance else 0.0
    share = {name: wired.parts()[name].element.share for name in wired.sources}
    free = wired.compliance is not None
    with computing(True):
        g = jnp.asarray([*(cells[name] for name in wired.memristors), *([line] * segments)])[:, None]
        ties = jnp.asarray(list(share.values()))[:, None]
        blank = jnp.zeros((wired.network.unknowns, 1))
        limits = Sources(jnp.full((1, 1), wired.compliance or 0.0)) if free else None
        found = jax.jit(lambda g: solve(wired.network, law(g), ties, blank, law is Ohms, limits))(g)
        drive, sense = (float(x) for x in found.given[:2, 0])
        residual = float(found.residual[0]) / float(np.abs(found.current).max())
    assert list(share)[:2] == ["drive", "sense"]
    return Currents(sense, drive, residual)


@pytest.mark.parametrize(
    ("rows", "columns", "scheme", "selected"),
    [
        (2, 3, "floating", {}),
        (5, 4, "V/2", {"row": 2, "column": 3}),
        (8, 8, "V/3", {}),
        (32, 32, "floating", {}),
    ],
)
def test_line_resistance_against_dense_algebra(rows: int, columns: int, scheme: str, selected: dict[str, int]) -> None:
    given = {"kind": "crossbar", "rows": rows, "columns": columns, "scheme": scheme, "line_resistance": f"{LINE} ohm"}
    wired = Crossbar.model_validate(given | selected)
    g = 10.0 ** np.random.default_rng(rows).uniform(-6, -3, (rows, columns))
    at = {name: tuple(int(x) - 1 for x in name[1:].split("_")) for name in wired.memristors[1:]}
    at["M"] = (wired.selected[0] - 1, wired.selected[1] - 1)
    found = conducting(wired, {name: float(g[where]) for name, where in at.items()})
    assert found.residual < 1e-12
    assert found.sense == pytest.approx(dense(g, LINE, *ends(wired))[at["M"][1]], rel=1e-9)


@pytest.mark.parametrize(
    ("size", "theirs"),
    [
        ((2, 3), [1.883909486902651e-06, 6.288940632597889e-05, 1.521012184481493e-04]),
        ((8, 8), [1.810661226606741e-06, 6.672704140655577e-05, 2.281082167568464e-05]),
        ((32, 32), [1.076109256157109e-04, 2.294502637461576e-05, 3.639484571141810e-06]),
    ],
)
def test_the_dense_algebra_is_that_of_badcrossbar(size: tuple[int, int], theirs: list[float]) -> None:
    """badcrossbar 1.1.0, whose rows count from the other end: one volt on the last row, zero on all other lines;
    currents of the first three bit lines."""
    g = 10.0 ** np.random.default_rng(size[0]).uniform(-6, -3, size)
    rows = np.zeros(size[0])
    rows[-1] = 1.0
    np.testing.assert_allclose(dense(g, LINE, rows, np.zeros(size[1]))[:3], theirs, rtol=1e-9)


@pytest.mark.parametrize(("rows", "scheme"), [(12, "V/2"), (6, "floating")])
def test_selectors_in_series_of_their_memristors(rows: int, scheme: str) -> None:
    """The points between them are all eliminated first: the same as an array of cells G_s G_m/(G_s + G_m)."""
    rng = np.random.default_rng(rows)
    given = {"kind": "crossbar", "rows": rows, "scheme": scheme}
    pair = Crossbar.model_validate(given | {"cell": FROZEN})
    single = Crossbar.model_validate(given)
    assert pair.network.inner == rows**2
    g = dict(zip(pair.memristors, rng.uniform(0.1, 1.0, 2 * rows**2), strict=True))
    cells = {name: 1 / (1 / g[name] + 1 / g[name.replace("M", "S")]) for name in single.memristors}
    assert conducting(pair, g)[:2] == pytest.approx(conducting(single, cells)[:2], rel=1e-9)


def two_by_two(scheme: str) -> None:
    """Without line resistance. Floating, the sneak path goes through the other three cells."""
    g = {"M": 1e-6, "M1_1": 2e-6, "M1_2": 5e-6, "M2_1": 3e-6}
    found = conducting(Crossbar.model_validate({"kind": "crossbar", "rows": 2, "scheme": scheme}), g)
    sneak = 1 / (1 / g["M2_1"] + 1 / g["M1_1"] + 1 / g["M1_2"])
    expected = {
        "V/2": (g["M"] + g["M1_2"] / 2, g["M"] + g["M2_1"] / 2),
        "V/3": (g["M"] + g["M1_2"] / 3, g["M"] + g["M2_1"] / 3),
        "floating": (g["M"] + sneak, g["M"] + sneak),
    }[scheme]
    assert found[:2] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scheme", ["V/2", "V/3", "floating"])
def test_sneak_currents_of_two_by_two(scheme: str) -> None:
    two_by_two(scheme)


@pytest.mark.parametrize("scheme", ["V/2", "V/3"])
def test_a_wrong_share_is_seen(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    word, bit = crossbar._SHARES[scheme]
    for wrong in ((word * 1.01, bit), (word, bit * 1.01)):
        monkeypatch.setitem(crossbar._SHARES, scheme, wrong)
        with pytest.raises(AssertionError):
            two_by_two(scheme)


def test_a_selector_divides_with_its_memristor() -> None:
    """Each cell G_s G_m/(G_s + G_m); the selected one, of the table ``cell``, conducts otherwise than the others."""
    tables = {
        name: FROZEN | {"off_conductance": f"{g} uS"} for name, g in (("device", 3), ("cell", 1), ("background", 6))
    }
    circuit = {"rows": 4, "columns": 3, "cell": tables["cell"], "background": tables["background"]}
    tree = run(tables["device"], circuit)
    np.testing.assert_allclose(value(tree, "i"), 1e-6 * (3 / 4 + 3 * 0.5 * 2), rtol=1e-6)
    np.testing.assert_allclose(value(tree, "out"), 1e-6 * (3 / 4 + 2 * 0.5 * 2), rtol=1e-6)
    volts = tree["trajectories"]["device_voltage"].values, tree["trajectories"]["device_voltage(M)"].values
    np.testing.assert_allclose(volts[0], 1 / 4, rtol=1e-6)
    np.testing.assert_allclose(volts[1], 3 / 4, rtol=1e-6)


def test_the_driver_stops_at_its_compliance() -> None:
    """Where it gives 1 uA the read current is what the word line's voltage leaves: (V_w + ½ Σ others) G."""
    given = {"kind": "crossbar", "rows": 12, "compliance": "1 uA", "cell": FROZEN}
    wired = Crossbar.model_validate(given)
    assert wired.network.unknowns == 145  # the points between selectors and memristors, and the driver's voltage
    found = conducting(wired, dict.fromkeys(wired.memristors, 1e-6))
    # 11 half-selected cells of 0.5 uS take 2.75 uA besides the selected one's 0.5: 1 uA = G (V_w + 11 (V_w - 1/2))
    word = (1e-6 / 0.5e-6 + 11 * 0.5) / 12
    assert found[:2] == pytest.approx((0.5e-6 * (word + 11 * 0.5), 1e-6), rel=1e-6)


# ------------------------------------------------------------------------------- numbers


def test_good_conductors_beside_bad_ones_do_not_spin() -> None:
    """What rounding leaves in a segment of 0.1 ohm is more than 1e-9 of the current through a cell of 10 Mohm: Newton's
    method must see that no more can be had."""
    wired = Crossbar.model_validate({"kind": "crossbar", "rows": 6, "line_resistance": "0.1 ohm"})
    tried: list[int] = []

    class Counted(Sinh):
        def __call__(self, v: Any) -> Any:
            jax.debug.callback(lambda: tried.append(1))
            return super().__call__(v)

    found = conducting(wired, dict.fromkeys(wired.memristors, 1e-7), Counted)
    jax.effects_barrier()
    assert 0 < len(tried) < 20
    assert found.residual < 1e-7


@pytest.mark.slow
def test_a_realisation_is_the_same_in_any_ensemble() -> None:
    spread = {"distribution": "lognormal", "median": "20 ohm", "sigma": 0.2}
    circuit = {"rows": 4, "columns": 3, "line_resistance": spread, "cell": CELLS, "record": ["M", "S1_2", "sense"]}
    few, many = (run(CELLS, circuit, ensemble={"devices": n}, measurements={"i": SENSE["i"]}) for n in (3, 20))
    for group in ("trajectories", "parameters"):
        for name, found in few[group].data_vars.items():
            kept = {dim: slice(found.sizes[dim]) for dim in found.dims}
            np.testing.assert_array_equal(found, many[group][name].isel(kept))
    assert np.unique(value(many, "i")).size == 20
    assert "off_conductance(S1_2)" in many["parameters"].data_vars
    assert "off_conductance(S1_1)" not in many["parameters"].data_vars


@pytest.mark.slow
def test_a_sweep_goes_over_sizes_and_states() -> None:
    """The selected cell is the same specimen in an array of any size, and what is recorded is the same too."""
    memristor = DRIFT | {"initial_state": {"distribution": "uniform", "low": 0.2, "high": 0.4}}
    sweep = {"axes": {"circuit.rows": [2, 5], "circuit.background.initial_state": [0.1, 0.9]}}
    circuit = {"rows": 3, "cell": memristor, "background": DRIFT}
    tree = run(FROZEN, circuit, sweep=sweep, measurements=SENSE | {"g": {"kind": "mean_conductance", "element": "M"}})
    g = tree["measurements/g"]["value"].values[..., 0]
    np.testing.assert_allclose(g, g[:1].repeat(4, axis=0), rtol=1e-3)
    assert np.all(g[:, 0] != g[:, 1])
    assert {f"{q}({name})" for q, name in (("current", "drive"), ("current", "sense"), ("conductance", "M"))} <= set(
        tree["trajectories"].data_vars
    )
    assert not [name for name in tree["trajectories"].data_vars if name.endswith("_1)")]
    read = tree["measurements/i"]["value"].values[:, 0, 0]
    assert np.all(read[[1, 3]] > read[[0, 2]])  # a background that conducts
    assert np.all(read[2:] > read[:2])  # and more of it


@pytest.mark.slow
def test_the_read_margin_of_its_picture() -> None:
    """V/2, cells of 1 and 10 uS among others of 4 uS: the read current is V (G + ½ (N - 1) 4 uS)."""
    sweep = {"axes": {"circuit.rows": [2, 5], "device.off_conductance": ["1 uS", "10 uS"]}}
    background = FROZEN | {"off_conductance": "4 uS"}
    tree = run(FROZEN, {"rows": 3, "background": background}, sweep=sweep)
    assert read_margin.measurements(tree) == {"i"}
    for pair, n in (([0, 1], 2), ([2, 3], 5)):
        np.testing.assert_allclose(read_margin.margins(tree, "i", pair), 9 / (10 + 2 * (n - 1)), rtol=1e-6)
    (axes,) = read_margin.draw(tree).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "5"]
    assert "array size" in axes.get_xlabel()


# ------------------------------------------------------------------------------- ngspice


def in_ngspice(texts: dict[str, str], wired: Crossbar, source: str, stop: float, step: float) -> Any:
    """Times and read current of the same array, of subcircuits by the names of the tables."""
    lines = [*texts.values(), f"Vin in 0 {source}"]
    row, column = wired.selected
    line = f"{wired.line_resistance:g}"
    for i in range(1, wired.rows + 1):
        lines.append(f"Ew{i} w{i} 0 in 0 {1.0 if i == row else 0.5}")
        for j in range(1, (wired.columns or wired.rows) + 1):
            own = (i, j) == (row, column)
            lines.append(f"Xm{i}_{j} w{i}_{j} b{i}_{j} {'dut' if own or 'others' not in texts else 'others'}")
            lines.append(f"Rw{i}_{j} {f'w{i}_{j - 1}' if j > 1 else f'w{i}'} w{i}_{j} {line}")
            lines.append(f"Rb{i}_{j} {f'b{i - 1}_{j}' if i > 1 else f'b{j}'} b{i}_{j} {line}")
    for j in range(1, (wired.columns or wired.rows) + 1):
        lines.append("Vsense " + f"b{j} 0 0" if j == column else f"Eb{j} b{j} 0 in 0 0.5")
    times, waves = ngspice.transient("\n".join(lines), ["i(vsense)"], stop, step)
    return times, waves["i(vsense)"]


@pytest.mark.slow
@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("family", "rows", "columns"),
    [
        ("yakopcic", 4, 4),
        ("yakopcic", 3, 2),
        ("omiec_compact", 3, 4),
    ],
)
def test_ngspice_reads_the_same_current(family: str, rows: int, columns: int) -> None:
    """The selected cell is written while the half-selected ones leak through resistive lines; 1e-3 of the trace."""
    circuit: dict[str, Any] = {"kind": "crossbar", "rows": rows, "columns": columns}
    pulse = {"kind": "pulse", "samples_per_pulse": 200, "relaxation_samples": 100}
    if family == "yakopcic":
        device: dict[str, Any] = DRIFT | {"initial_state": 0.2}
        others = DRIFT | {"initial_state": 0.9}
        circuit |= {"line_resistance": "20 ohm", "background": others}
        protocol = pulse | {"amplitude": "0.7 V", "width": "1 ms", "read_voltage": "0.1 V", "relaxation": "0.5 ms"}
        step, edge = 5e-6, 1e-9
        texts = {"others": subcircuit(model_of(alone(others, protocol), "others", "a test"))}
    else:
        device = {"preset": "device_2s"}
        circuit |= {"line_resistance": "20 kohm"}
        protocol = pulse | {"amplitude": "3.5 V", "width": "2 s", "read_voltage": "1.5 V", "relaxation": "2 s"}
        step, edge, texts = 0.01, 1e-6, {}
    experiment = mcdev.build(table(device, circuit, protocol, ensemble={"devices": 1}, measurements={"i": SENSE["i"]}))
    model = (alone if family == "yakopcic" else level_1_of)(device, protocol)
    texts["dut"] = subcircuit(model_of(model, "dut", "a test"))
    timeline = experiment.protocol.timeline()
    wired = experiment.circuit
    assert isinstance(wired, Crossbar)
    times, current = in_ngspice(texts, wired, ngspice.piecewise_linear(timeline, edge), timeline.duration, step)
    theirs = ngspice.sampled(timeline, times, current)
    ours = simulate(experiment)[0].mean["current(sense)"][0]
    assert relative_rms(theirs, ours, timeline.widths) < 1e-3
    # The same array as mcdev exports it: one subcircuit, with its lines' ends as pins.
    whole = model_of(experiment, "whole", "a test")
    assert whole.network is not None
    lines = [f"Vin in 0 {ngspice.piecewise_linear(timeline, edge)}", f"Vsense b{columns} 0 0"]
    lines += [
        f"E{n} {n} 0 in 0 {1.0 if n == f'w{rows}' else 0.5}" for n in whole.network.pins.values() if n != f"b{columns}"
    ]
    lines.append(f"X1 {' '.join(whole.network.pins.values())} whole_network")
    text = "\n".join([subcircuit(whole), *lines])
    times, waves = ngspice.transient(text, ["i(vsense)"], timeline.duration, step)
    exported = ngspice.sampled(timeline, times, waves["i(vsense)"])
    assert relative_rms(exported, ours, timeline.widths) < 1e-3
    end = timeline.windows["pulse"][0][1] - 1
    assert abs(ours[end] / ours[5] - 1) > 0.02  # it was written


def level_1_of(device: dict[str, Any], protocol: dict[str, Any]) -> Any:
    return level_1(device["preset"], protocol)


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"rows": 0}, "circuit.rows", "1"),
        ({"rows": 4, "row": 5}, "circuit.row", "between 1 and 4"),
        ({"rows": 4, "columns": 2, "column": 3}, "circuit.column", "between 1 and 2"),
        ({"rows": 4, "line_resistance": "0 ohm"}, "circuit.line_resistance", "> 0"),
        ({"rows": 4, "scheme": "V/4"}, "circuit.scheme", "V/3"),
        ({"rows": 4, "cell": {"preset": "wang2017_tax"}}, "circuit.cell.preset", "wang2017_taox"),
        ({"rows": 4, "record": ["M9_9"]}, "circuit.record", "M"),
    ],
)
def test_one_clear_message(given: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(mcdev.ConfigError) as error:
        mcdev.build(table(FROZEN, {"kind": "crossbar", **given}, hold("1 V", "1 s", 2)))
    (problem,) = error.value.problems
    assert problem.key.startswith(key), str(problem)
    assert words in str(problem)


def test_an_array_that_does_not_fit_is_refused() -> None:
    """Of 64 rows with line resistance the compiler counts 255 MiB for the eight realisations that a worker solves."""
    wide = mcdev.build(
        table(FROZEN, {"kind": "crossbar", "rows": 64, "line_resistance": "1 ohm"}, hold("1 V", "1 s", 2))
    )
    check_memory(trials(wide), workers=1, memory=2**29)
    with pytest.raises(NotEnoughMemory, match=r"the nodes of the circuit or the number of --threads"):
        check_memory(trials(wide), workers=1, memory=2**28)
