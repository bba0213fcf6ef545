"""What is different on a GPU, as far as a CPU shows it: the kernel in Pallas's interpreter, the ways and what happens
where one fails, how many lanes a group has."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import as_users

import mcdev
from mcdev.devices.diffusive_particles import _pulled
from mcdev.devices.landscape import (
    Attraction,
    Capacity,
    InterfacialWells,
    Landscape,
    PeriodicPinning,
    RandomPinning,
)
from mcdev.integrators import block_tridiagonal, langevin, resident, swept
from mcdev.integrators.block_tridiagonal import Near, Rows
from mcdev.integrators.interval import Interval
from mcdev.integrators.ion_cells import gained
from mcdev.integrators.ion_transport import IonTransport
from mcdev.integrators.langevin import SCHEMES
from mcdev.interface import doctor
from mcdev.machine import gpu
from mcdev.machine.identity import Origin, differences
from mcdev.simulation import program
from mcdev.simulation.chunks import Chunk, Share, chains
from mcdev.simulation.group import Group, Piece
from mcdev.simulation.progress import unseen
from mcdev.simulation.trial import Trial, trials

LANES = 256

# -------------------------------------------------------------------------------------- the kernel


def interpreter() -> Any:
    """Pallas's; jax 0.10 does not show it yet."""
    try:
        from jax.experimental.pallas.mosaic_gpu import InterpretGPUParams
    except ImportError:
        from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams
    return InterpretGPUParams()


def uniform(low: float, high: float, seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).uniform(low, high, LANES), jnp.float32)


def words(seed: int, most: int = 2**32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).integers(0, most, LANES), jnp.uint32)


def landscape(right: bool) -> Landscape:
    depth = uniform(2.0, 40.0, 3)
    wells = InterfacialWells.of(depth, uniform(0.6, 0.7, 4), uniform(0.05, 0.1, 5), 0.5 * depth if right else None)
    return Landscape(wells, PeriodicPinning.of(uniform(0.1, 0.2, 6), uniform(0.0, 6.0, 7)))


@pytest.mark.parametrize(("name", "right"), [("heun", False), ("euler_maruyama", True)])
def test_the_kernel_takes_the_steps_of_the_loop_bit_for_bit(name: str, right: bool) -> None:
    """Lanes of several paces, some of them at rest; an odd number of pairs; steps so large that walls are met."""
    x = jnp.stack([uniform(-1.0, 1.0, seed) for seed in (1, 2)])
    field = landscape(right), uniform(-20.0, 20.0, 8)
    pairs = words(9, 6)
    assert set(np.unique(pairs)) == set(range(6))
    interval = Interval(jnp.ones(LANES), pairs, jnp.max(pairs))
    given = uniform(1e-4, 1e-3, 10), uniform(0.1, 0.4, 11), (words(12), words(13)), words(14), interval

    def loop(x: jax.Array) -> jax.Array:
        return langevin.diffuse(SCHEMES[name], lambda x: field[0].force(x) + field[1], x, x, *given)[0]

    def kernel(x: jax.Array) -> jax.Array:
        return resident.diffuse(SCHEMES[name], _pulled, field, x, *given, interpret=interpreter())

    expected = np.asarray(as_users(loop)(x))
    np.testing.assert_array_equal(as_users(kernel)(x), expected)
    moved = np.any(expected != np.asarray(x), axis=0)
    np.testing.assert_array_equal(moved, np.asarray(pairs) > 0)


def test_only_a_particle_by_itself_goes_through_the_kernel() -> None:
    """What the force refers to beside the particle's own position the kernel does not have."""
    own, one = landscape(False), jnp.ones(LANES)
    assert own.each_alone
    assert landscape(True).each_alone
    tops = jnp.linspace(-1.0, 1.0, 5)[:, None] * one
    others = (
        Landscape(own.wells, own.pinning, Attraction(one, one)),
        Landscape(own.wells, own.pinning, capacity=Capacity(one, one)),
        Landscape(own.wells, RandomPinning.of(tops, jnp.ones((4, LANES)))),
    )
    assert not any(other.each_alone for other in others)


# -------------------------------------------------------------------------------------- the elimination


@contextlib.contextmanager
def wide_everywhere() -> Iterator[None]:
    """Double precision in the interpreter's threads, too."""
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


CELLS, CHARGES = 5, (-1, 1)


def correction(lanes: int) -> np.ndarray:
    """What one Newton iteration finds of ions with salt, away from equilibrium, lanes of different devices, one below
    the other; of a program of its own."""
    species = len(CHARGES)

    def between(low: float, high: float, *shape: int) -> jax.Array:
        return jnp.asarray(np.random.default_rng(len(shape)).uniform(low, high, (*shape, LANES)))[..., :lanes]

    one = jnp.ones(lanes)
    ions = IonTransport(
        widths=jnp.full((CELLS, lanes), 1 / CELLS), charges=CHARGES, screening=between(1e2, 1e4),
        stern=between(1e-3, 1e-2), rates=between(1.0, 2.0, species), packing=between(0.0, 0.3), fixed_charge=one,
        field_scale=between(0.0, 0.1), tolerance=8e-3 * one, fixed_step=0 * one,
    )  # fmt: skip
    x, gh = between(-1.0, 1.0, CELLS, 1 + species), between(1e-3, 1e-1)
    densities = between(0.1, 1.0, CELLS, species)
    voltage = jnp.linspace(-40.0, 40.0, LANES)[:lanes]
    march = ions._beginning(ions.rest(jnp.full((species, lanes), 0.5)), voltage, one)
    march = march._replace(x=x, history=densities, before=densities[::-1])
    parts = jax.jit(lambda march: ions._correction(march, gh, voltage, ions._inverse_gaps()))(march)
    found = np.concatenate([np.asarray(part).reshape(-1, lanes) for part in parts[:5]])
    if parts.wanting is not None:
        _, few = gained(1 / CELLS, march.before, parts.after)
        np.testing.assert_array_equal(parts.wanting, np.sum(few, axis=(0, 1)))
        assert 0 < np.sum(few) < few.size
    assert np.all(np.isfinite(found))
    assert np.ptp(found) > 1.0
    return found


def short(low: float, high: float, *shape: int) -> jax.Array:
    """Numbers of few binary digits: what rows are made of is then exact, with fused multiply-adds and without."""
    digits = 2.0**5
    random = np.random.default_rng([int(digits * high), len(shape)])
    return jnp.asarray(np.round(digits * random.uniform(low, high, (*shape, LANES))) / digits)


def whole_system(half: int, count: int = CELLS, size: int = 3) -> tuple[Any, np.ndarray]:
    """A system of small whole numbers, and its solution: scale, cells and faces as ``whole_rows`` takes them.

    The first ``half`` of the cells is eliminated from the first cell on, the others from the last one on. Pivots are
    two on the way, and one where the two meet; nothing is rounded, with fused multiply-adds or without.
    """
    random = np.random.default_rng(5)
    one, below = np.eye(size)[:, :, None], np.tri(size, k=-1)[:, :, None]

    def whole(*shape: int) -> np.ndarray:
        return random.integers(-2, 3, (*shape, LANES)).astype(float)

    def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("cijl,cj...l->ci...l", a, b)

    lower, upper, onward, back = (whole(count - 1, size, size) for _ in range(4))
    above = below.swapaxes(0, 1) * whole(count, size, size)
    above[half:, 0] = back[:, 0, 1:] = lower[:, 0, 1:] = 0  # as `whole_rows` has it
    for factors in (onward, back):  # their product where the two meet has no diagonal
        factors[half - 1 : half] *= below
    own = times(one + below * whole(count, size, size), one + above)
    x, diagonal = whole(count, size), own.copy()
    upper[:half] = times(own[:half][: count - 1], onward[:half])
    diagonal[1:half] += times(lower[: half - 1], onward[: half - 1])
    lower[half - 1 :] = times(own[half:], back[half - 1 :])
    diagonal[half:-1] += times(upper[half:], back[half:])
    right = times(diagonal, x)
    right[1:] += times(lower, x[:-1])
    right[:-1] += times(upper, x[1:])
    sign, field = random.choice([-1.0, 1.0], (count, LANES)), whole(count + 1)
    cells = diagonal.reshape(count, -1, LANES), right - (field[1:] - field[:-1])[:, None], sign
    faces = [
        block.reshape(count - 1, -1, LANES) for block in (lower * sign[:-1, None, None], upper * sign[1:, None, None])
    ]
    return jax.tree.map(jnp.asarray, (2 * np.ones(LANES), cells, (*faces, field))), x


def weighted(scale: Any, sign: Any, x: list[Any]) -> tuple[list[Any], list[Any]]:
    found = [scale * sign * value for value in x]
    return found[:2], found


def whole_rows(scale: Any, near: Near) -> Rows:
    """Made of all that a row may be made of: what neighbours have, and faces that a wall has and has not."""
    diagonal, right, _ = near.own

    def block(entries: Any, sign: Any = 1.0) -> list[list[Any]]:
        return [[scale * sign * entries[3 * i + j] for j in range(3)] for i in range(3)]

    lower = block(near.left[0], near.before[2])
    lower[0][1:] = [None, None]
    target = [scale * (r + (near.right[2] - near.left[2])) for r in right]
    return Rows(lower, block(diagonal), block(near.right[1], near.after[2]), target)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_kernel_eliminates_from_both_ends_bit_for_bit(count: int) -> None:
    """In two blocks of threads, of rows that it makes of cells and faces; a CPU does so from the first cell on."""
    with wide_everywhere():
        system, x = whole_system(count - count // 2, count)

        def kernels(scale: Any, cells: Any, faces: Any) -> Any:
            return swept.solve(whole_rows, scale, cells, faces, weighted, cells[2], interpreter())

        found, largest, each, total = jax.jit(kernels)(*system)
        np.testing.assert_array_equal(found, x)
        np.testing.assert_array_equal(largest, np.abs(x).max(axis=0))
        signed = 2 * np.asarray(system[1][2])[:, None] * x
        np.testing.assert_array_equal(each, signed[:, :2])
        np.testing.assert_array_equal(total, signed.sum(axis=0))
        system, x = whole_system(count, count)
        cpu = functools.partial(block_tridiagonal.solve_stencil, whole_rows)
        np.testing.assert_array_equal(jax.jit(cpu)(*system), x)


@pytest.mark.slow
def test_the_kernel_makes_the_rows_of_ions(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the rounding of fused multiply-adds, which are others where rows are not stored."""
    asked = []

    def kernel(*given: Any) -> Any:
        asked.append(given)
        return eliminated(*given, interpret=interpreter())

    eliminated = swept.solve
    with wide_everywhere():
        expected = correction(LANES)
        monkeypatch.setattr(swept, "possible", lambda x: True)
        monkeypatch.setattr(swept, "solve", kernel)
        found = correction(LANES)
    assert len(asked) == 1
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("on_gpu")
def test_ions_go_through_the_kernel_in_float64_and_whole_blocks_of_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are eliminated as ever."""
    monkeypatch.setattr(swept.SWEEP, "_refusal", None)
    for cells, lanes, dtype, serves in (
        (CELLS, 128, np.float64, True),
        (CELLS, 256, np.float64, True),
        (CELLS, 200, np.float64, False),
        (CELLS, 64, np.float64, False),
        (CELLS, 256, np.float32, False),
        (2, 256, np.float64, True),
        (1, 256, np.float64, False),
    ):
        assert swept.possible(np.zeros((cells, 3, lanes), dtype)) == serves
    monkeypatch.setattr(swept, "solve", None)  # not called
    with jax.enable_x64(True):
        correction(200)


@pytest.mark.usefixtures("on_gpu")
def test_ions_are_eliminated_as_ever_where_the_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its compiler is not here; it is asked in the middle of a tracing."""
    with jax.enable_x64(True):
        with pytest.MonkeyPatch.context() as here:
            here.setattr(gpu, "backend", lambda: "cpu")
            expected = correction(LANES)
        fresh = gpu.Way(swept.SWEEP.name, swept.SWEEP._taken, swept.SWEEP._instead, swept.SWEEP._trial)
        monkeypatch.setattr(swept, "SWEEP", fresh)
        with pytest.warns(RuntimeWarning, match="reduced at once, which is slower: Only interpret mode is supported"):
            found = correction(LANES)
    np.testing.assert_array_equal(found, expected)


# -------------------------------------------------------------------------------------- ways


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as if on a GPU, as far as ways go: none has been tried. The kernel cannot be compiled here."""
    monkeypatch.setattr(gpu, "backend", lambda: "gpu")
    ways = [gpu.Way(way.name, way._taken, way._instead, way._trial) for way in gpu.WAYS]
    monkeypatch.setattr(gpu, "WAYS", ways)
    monkeypatch.setattr(gpu, "GRAPHS", ways[0])
    monkeypatch.setattr(resident, "KERNEL", ways[1])
    monkeypatch.setattr(swept, "SWEEP", ways[2])
    ways[2].close("there are no ions")  # most tests of ways are with particles; each trial takes seconds
    monkeypatch.setattr(program, "_programs", {})
    yield
    jax.clear_caches()


def experiment(**changes: Any) -> mcdev.Experiment:
    return mcdev.build(
        {
            "name": "hold",
            "device": {"preset": "wang2017_reduced", "particles": 2},
            "protocol": {"kind": "hold", "voltage": "2 V", "duration": "0.02 s", "samples": 4},
            "measurements": {"g": {"kind": "mean_conductance"}},
            "ensemble": {"devices": 256},
        }
    ).with_(changes)


def conductance(of: mcdev.Experiment) -> np.ndarray:
    """Of a group from rest, sample by sample."""
    trial = Trial(of)
    group = Group([Piece(trial, 0, of.ensemble.devices)])
    key = group.key(0)
    group.carry = program.program().rest(group.devices, group.circuit, key)
    found: np.ndarray = group.advance(key, [trial.rows], unseen()).channels["conductance"]
    return found


def test_no_way_is_taken_or_tried_on_a_cpu() -> None:
    assert gpu.taken() == ()
    assert gpu.described() == []
    assert Origin.here().flags == "none"
    assert not any(way._tried for way in gpu.WAYS)


@pytest.mark.usefixtures("on_gpu")
def test_what_fails_its_trial_is_left_for_the_loop_and_said() -> None:
    """The kernel asks for a GPU, which is not here; whole runs give the same numbers without it."""
    with pytest.warns(RuntimeWarning, match="XLA's loop moves the particles, which is slower"):
        found = conductance(experiment())
    assert gpu.taken() == ("graphs",)
    said = Origin.here().flags.split(", ")
    assert said[0] == "loops on the device"
    assert said[1].startswith("XLA's loop moves the particles (Only interpret mode")  # tried, and the compiler refused
    with pytest.MonkeyPatch.context() as here:
        here.setattr(gpu, "backend", lambda: "cpu")
        np.testing.assert_array_equal(found, conductance(experiment()))


@pytest.mark.usefixtures("on_gpu")
def test_a_program_that_fails_in_a_fast_way_is_run_in_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in gpu.WAYS[:2]:
        way.presume()
    gpu.WAYS[1].close("not here")
    monkeypatch.setattr(gpu, "graph_options", lambda: {"xla_gpu_enable_command_buffer": "NO_SUCH_COMMAND"})
    with pytest.warns(RuntimeWarning, match="the host drives the loops, which is slower: .*NO_SUCH_COMMAND"):
        found = conductance(experiment())
    assert gpu.taken() == ()
    assert np.all(np.isfinite(found))


@pytest.mark.usefixtures("on_gpu")
def test_a_kernel_that_fails_in_a_program_is_replaced_by_the_loop() -> None:
    """Its trace must go with it: the second attempt is of another program."""
    for way in gpu.WAYS[:2]:
        way.presume()
    with pytest.warns(RuntimeWarning, match="XLA's loop moves the particles, which is slower"):
        found = conductance(experiment())
    assert gpu.taken() == ("graphs",)
    assert np.all(np.isfinite(found))


@pytest.mark.usefixtures("on_gpu")
def test_a_thread_whose_way_another_has_closed_goes_on_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.WAYS[0].presume()
    gpu.WAYS[1].close("not here")
    tried = []

    def along(of: Any, ways: tuple[str, ...], *given: Any, place: Any) -> Any:
        tried.append(ways)
        if ways:
            gpu.WAYS[0].close("by another thread")
            raise RuntimeError("no graphs")
        return "the plain way's"

    monkeypatch.setattr(program.Program, "_along", along)
    assert program.program().advance(place=program.Place(1, 1)) == "the plain way's"
    assert tried == [("graphs",), ()]


@pytest.mark.usefixtures("on_gpu")
def test_an_error_that_has_nothing_to_do_with_ways_is_raised() -> None:
    for way in gpu.WAYS:
        way.presume()
    with pytest.raises(TypeError, match="missing"):
        program.program().advance(place=program.Place(1, 1))
    assert gpu.taken() == ("graphs", "kernel", "sweep")


@pytest.mark.usefixtures("on_gpu")
def test_who_computed_says_of_each_kernel_whether_it_ran() -> None:
    for way in gpu.WAYS:
        way.presume()
    all_taken = "loops on the device, particles in one kernel, ions eliminated in two kernels"
    assert Origin.here().flags == all_taken
    found = doctor.Findings()
    with pytest.MonkeyPatch.context() as here:
        here.setattr(doctor, "backend", lambda: "gpu")
        doctor._backend(found)
    assert found.facts["on the GPU"] == all_taken.replace(", ", "; ")
    swept.SWEEP.close("not here")
    (difference,) = differences(Origin.here(), Origin.here().model_copy(update={"flags": all_taken}))
    assert difference.part == "flags"
    assert difference.there == "all cells of the ions are reduced at once (not here)"


def test_ways_are_in_one_order_whichever_module_is_imported_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [way.name for way in gpu.WAYS] == ["graphs", "kernel", "sweep"]
    ways = list(gpu.WAYS)
    monkeypatch.setattr(gpu, "WAYS", ways[:1])
    for way in (swept.SWEEP, resident.KERNEL):
        assert gpu.offered(way) is way
    assert ways == gpu.WAYS


@pytest.mark.usefixtures("on_gpu")
def test_a_way_can_be_asked_for_in_the_middle_of_a_tracing_and_is_tried_once() -> None:
    tried = []

    def trial() -> None:
        tried.append(float(jax.jit(lambda x: x + 1.0)(jnp.ones(()))))

    way = gpu.Way("new", "new", "old", trial)
    jax.jit(lambda x: x * float(way.open()))(jnp.ones(2))
    assert way.open()
    assert tried == [2.0]


@pytest.mark.usefixtures("on_gpu")
def test_a_way_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VARIABLE, "graphs, kernel")
    assert gpu.taken() == ()
    assert gpu.described() == [
        "the host drives the loops (MCDEV_GPU_WITHOUT says so)",
        "XLA's loop moves the particles (MCDEV_GPU_WITHOUT says so)",
        "all cells of the ions are reduced at once (there are no ions)",
    ]


# -------------------------------------------------------------------------------------- lanes


@pytest.fixture
def lanes_of_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcdev.simulation.trial.backend", lambda: "gpu")


@pytest.mark.usefixtures("lanes_of_gpu")
@pytest.mark.parametrize(
    ("devices", "lanes"),
    [
        (1, 128),
        (128, 128),
        (129, 256),
        (257, 384),
        (513, 640),
        (3000, 3072),
        (10_000, 10_240),
        (65_536, 65_536),
        (10**6, 65_536),
    ],
)
def test_a_group_has_lanes_for_the_whole_ensemble(devices: int, lanes: int) -> None:
    trial = Trial(experiment(**{"ensemble.devices": devices}))
    assert trial.lanes == lanes
    firsts = {chunk.first for chain in chains(trial, 0, Share(1, 1)) for chunk in chain}
    assert firsts == set(range(0, devices, lanes))


@pytest.mark.usefixtures("lanes_of_gpu")
def test_lanes_are_whole_blocks_of_threads_and_whole_slots_and_few_are_idle() -> None:
    small = experiment(**{"sweep.axes": {"protocol.voltage": ["1 V", "2 V"]}})
    for points, devices in itertools.product((1, 2, 3, 5, 40), (1, 5, 65, 200, 300, 900, 1100, 10_000, 50_000)):
        trial = Trial(small.with_({"ensemble.devices": devices}), points)
        assert trial.lanes % 128 == trial.lanes % trial.slot == 0
        if trial.slot == trial.lanes:
            assert trial.lanes < 1.25 * devices + 128


@pytest.mark.usefixtures("lanes_of_gpu")
def test_a_device_is_the_same_in_any_number_of_lanes() -> None:
    found = [conductance(experiment(**{"ensemble.devices": devices})) for devices in (100, 300, 600)]
    for few, many in itertools.pairwise(found):
        np.testing.assert_array_equal(few[:, :100], many[:, :100])


@pytest.mark.usefixtures("lanes_of_gpu")
def test_points_of_a_sweep_share_the_lanes_of_all() -> None:
    axis = {"sweep.axes": {"protocol.voltage": [f"{0.1 * i} V" for i in range(1, 41)]}}
    few = trials(experiment(**axis, **{"ensemble.devices": 16}))
    assert [(trial.lanes, trial.slot) for trial in few] == [(640, 16)] * 40
    many = trials(experiment(**axis, **{"ensemble.devices": 2000}))
    assert {(trial.lanes, trial.slot) for trial in many} == {(2048, 2048)}


@pytest.mark.usefixtures("lanes_of_gpu")
def test_long_records_make_groups_smaller() -> None:
    long = experiment(**{"ensemble.devices": 60_000, "protocol.samples": 10_000})
    trial = Trial(long)
    assert trial.lanes < 60_000
    assert trial.lanes * trial.bytes_of_lane <= 2**30
    assert isinstance(chains(trial, 0, Share(1, 1))[0][0], Chunk)


# -------------------------------------------------------------------------------------- counts without a GPU


THUNKS = """\
000: kCommandBuffer [source       | next=002 (1)] 
    001: kCustomKernel [source | sink] before grid: [4, 1, 1] threads: [128, 1, 1]  shared_memory: 0 bytes
002: kWhile         [prev=000 (1) | next=009 (1)]   
condition:
    003: kCustomKernel [source | sink] compare grid: [1, 1, 1] threads: [1, 1, 1]  shared_memory: 0 bytes
  body:
    000: kCommandBuffer [source | sink] 
        004: kCustomKernel [source | sink] begin grid: [64, 1, 1] threads: [128, 1, 1]  shared_memory: 0 bytes
        005: kWhile        [prev=004 (1) | next=008 (1)]           
condition:
            006: kCustomKernel [source | sink] compare_1 grid: [1, 1, 1] threads: [1, 1, 1]  shared_memory: 0 bytes
          body:
            007: kCustomCall   [source | sink] kCustomCall
        008: kCopy         [source | sink] kCopy
009: kCopy          [prev=002 (1) | sink        ] kCopy
"""


@pytest.fixture(scope="module")
def static() -> Any:
    """The script of `benchmarks/`, which is no package."""
    path = Path(__file__).parents[1] / "benchmarks" / "gpu_static.py"
    spec = importlib.util.spec_from_file_location("gpu_static", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_kernels_are_counted_in_their_loops_and_graphs(static: Any) -> None:
    found = {(node.name or node.kind, depth, graph) for node, depth, graph in static.walk(static.parse(THUNKS))}
    assert found == {
        ("kCommandBuffer", 0, False),
        ("before", 0, True),
        ("kWhile", 0, False),
        ("compare", 1, False),
        ("kCommandBuffer", 1, False),
        ("begin", 1, True),
        ("kWhile", 1, True),
        ("compare_1", 2, True),
        ("kCustomCall", 2, True),
        ("kCopy", 1, True),
        ("kCopy", 0, False),
    }
    assert sum(node.threads for node, _, _ in static.walk(static.parse(THUNKS))) == 68 * 128 + 2


def test_of_a_choice_the_longest_branch_is_counted(static: Any) -> None:
    kernels = [static.Node("kKernel", name) for name in ("before", "one", "other", "within")]
    choice = static.Node("kConditional", inner={"true_branch": kernels[1:2], "false_branch": kernels[2:]})
    own = {id(node): seconds for node, seconds in zip(kernels, (1.0, 5.0, 2.0, 2.5), strict=True)}
    assert static.longest([kernels[0], choice, static.Node("kWhile", inner={"body": kernels[:1]})], own) == 7.0


def test_bytes_are_those_of_the_arrays_that_a_kernel_touches(static: Any) -> None:
    """One of a tuple's arrays where one is named; one row where one is taken."""
    text = """
  %pair = (f32[8]{0}, u32[4,8]{1,0}) parameter(0)
  %rows = f32[64,8]{1,0} parameter(1)
  %add.1 = f32[8]{0} fusion(%pair#0, %pair#1), kind=kLoop
  %swept.3 = (f64[8]{0}, f64[3,8]{1,0}) custom-call(%add.1), custom_call_target="mosaic_gpu_v2"
  %swept.4 = f64[8]{0} custom-call(%swept.3#1), custom_call_target="mosaic_gpu_v2"
  ROOT %dynamic_slice_fusion = f32[8]{0} fusion(%rows), kind=kLoop
"""
    assert static.sizes(text) == {
        "add_1": 32 + 32 + 128,
        "kCustomCall": 32 + 64 + 192,
        "kCustomCall_1": 192 + 64,
        "dynamic_slice_fusion": 32 + 32,
    }


def test_a_count_that_rises_by_more_than_a_tenth_is_told(static: Any) -> None:
    kernel = {"instructions": 100, "registers": 40, "spills": 0}
    before = {"kernels_per_sample": 20, "read_backs": 0, "kernels": {"a": kernel, "gone": kernel}}
    same = {"kernels_per_sample": 22, "read_backs": 0, "kernels": {"a": kernel | {"registers": 44}, "new": kernel}}
    assert static.risen("p", same, before) == []
    worse = {"kernels_per_sample": 23, "read_backs": 1, "kernels": {"a": kernel | {"spills": 8}}}
    assert static.risen("p", worse, before) == [
        "p, kernel a: spills 0 → 8",
        "p: kernels_per_sample 20 → 23",
        "p: read_backs 0 → 1",
    ]


def test_the_committed_counts_keep_what_is_promised(static: Any) -> None:
    """docs/gpu.md says so: one launch a call, nothing read back, at most 110 instructions a step of Heun, no spills;
    ions in half the time."""
    programs = json.loads(static.RESULTS.read_text(encoding="utf-8"))["programs"]
    assert programs.keys() == static.PROGRAMS.keys()
    kernel = {name: of for name, of in programs.items() if "instructions_per_step" in of}
    assert len(kernel) >= 4
    for of in kernel.values():
        assert (of["graph_launches_per_call"], of["read_backs"]) == (1, 0)
        assert of["instructions_per_step"] <= 110
        assert of["kernels"]["particle_mosaic_gpu_kernel"]["registers"] <= 64
        assert all(one["spills"] == 0 for one in of["kernels"].values())
    swept, reduced = programs["level 2"], programs["level 2, all cells at once"]
    for half in ("inward", "outward"):
        assert swept["kernels"][f"{half}_mosaic_gpu_kernel"]["spills"] == 0
    assert 2 * swept["seconds_per_call"] < reduced["seconds_per_call"]
