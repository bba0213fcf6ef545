"""What the tests share: small experiments in reduced units, and batches of devices built from them."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest
import xarray as xr
from hypothesis import settings

import mcdev
import mcdev.simulation.ensemble
from mcdev.__main__ import COLLECTING
from mcdev.configuration import plugins
from mcdev.configuration.experiment import Experiment
from mcdev.devices.contract import LaneKey
from mcdev.devices.diffusive import Diffusive
from mcdev.devices.diffusive_particles import DiffusiveDevices, DiffusiveState
from mcdev.devices.tunnelling import relative_conductance
from mcdev.export import ngspice
from mcdev.integrators.noise import realisation_key
from mcdev.interface import cli
from mcdev.kinds import Kinds
from mcdev.machine import compilation_cache, identity
from mcdev.simulation import program
from mcdev.simulation.draws import draw_parameters
from mcdev.simulation.program import compiler_options

if "MCDEV_COMPILATION_CACHE" not in os.environ:  # tests leave nothing in the user's folders, and find nothing there
    _cache = tempfile.TemporaryDirectory(prefix="mcdev-tests-")  # of this session and the programs that it starts
    os.environ["MCDEV_COMPILATION_CACHE"] = _cache.name
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of workers, which share the processor: threads would wait by turns
gc.set_threshold(*COLLECTING)  # as the command line does
compilation_cache.switch_on()  # what one worker has compiled, the other need not

UNPOLISHED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""XLA takes a fifth of the time to compile; the code is slower. So is compiled here what does not say how: what tests
work out for themselves, measurements, slopes of a calibration."""
AS_USERS = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
"""The simulation is compiled as users' are, where the fixture ``unpolished`` is not asked for."""
if jaxlib.version.__version_info__ < (0, 11):  # later ones always use them, and end the process that asks not to
    UNPOLISHED["xla_cpu_use_fusion_emitters"], AS_USERS["xla_cpu_use_fusion_emitters"] = False, True


def _compile_unpolished() -> None:
    """XLA reads its flags once, when it starts. Programs that tests start are not to have them."""
    with pytest.MonkeyPatch.context() as patch:
        flags = (f"--{name}={value}".lower() for name, value in UNPOLISHED.items())
        patch.setenv("XLA_FLAGS", " ".join([*flags, os.environ.get("XLA_FLAGS", "")]))
        compiler_options(jax.default_backend()).update(AS_USERS)


_compile_unpolished()
as_users = functools.partial(jax.jit, compiler_options=compiler_options(jax.default_backend()))
"""For what runs long, and where bits are compared."""
settings.register_profile("any load", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("any load")


LONG = (
    *("test_network", "test_derivatives", "test_safekeeping", "test_calibration", "test_export", "test_hopping"),
    *("test_calibration_noisy", "test_calibration_curves"),
    *("test_diffusive", "test_series_memristor", "test_figures", "test_omiec_pnp", "test_omiec_compact"),
    *("test_planted_bugs", "test_ion_transport", "test_extraction", "test_langevin", "test_cli", "test_score_gradient"),
    *("test_crossbar", "test_study", "test_plugins", "test_diffusive_density", "test_simulated_posterior"),
)
"""Files that take longest, longest first."""


def pytest_configure(config: pytest.Config) -> None:
    """Files go to the workers in the order in which they are collected; by default those of many tests went first."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: one that is begun last leaves the other worker idle."""
    place = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The only skips of this house: a test of ngspice where there is no ngspice, of a browser where there is none."""
    if item.get_closest_marker("ngspice") and not ngspice.available():
        pytest.skip("ngspice is not installed: apt-get install ngspice")
    if item.get_closest_marker("browser") and not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("chromium or its driver is not installed: apt-get install chromium chromium-driver")


HOLD = {"kind": "hold", "duration": "0.02 s", "samples": 4}
MEAN = {"g": {"kind": "mean_conductance"}}


def reduced(
    protocol: dict[str, Any] | None = None,
    measurements: dict[str, Any] | None = None,
    ensemble: dict[str, Any] | None = None,
    **device: Any,
) -> Experiment:
    """An experiment on the paper's device in its own units; keywords change the device."""
    return mcdev.build(
        {
            "name": "test",
            "device": {"preset": "wang2017_reduced", **device},
            "protocol": protocol or HOLD,
            "measurements": measurements or MEAN,
            "ensemble": {"devices": 64} | (ensemble or {}),
        }
    )


def array(tree: xr.DataTree, path: str) -> xr.DataArray:
    """A variable of the results: ``array(tree, "response/conductance")``."""
    found = tree[path]
    assert isinstance(found, xr.DataArray)
    return found


def lane_keys(lanes: int, seed: int = 1, cycle: int = 0) -> LaneKey:
    """Keys of realisations 0 … lanes-1."""
    return realisation_key(jnp.full(lanes, seed, jnp.uint32), jnp.arange(lanes, dtype=jnp.uint32), jnp.uint32(cycle))


def devices_of(experiment: Experiment, lanes: int, dtype: Any = np.float32) -> DiffusiveDevices:
    """Devices 0 … lanes-1 of an experiment."""
    draws = draw_parameters(experiment, 0, lanes)
    return diffusive(experiment).build(draws, experiment.ensemble.seed, np.arange(lanes), dtype)


def diffusive(experiment: Experiment) -> Diffusive:
    """The device of an experiment on the diffusive family."""
    assert isinstance(experiment.device, Diffusive)
    return experiment.device


def state_at(devices: DiffusiveDevices, x: Any) -> DiffusiveState:
    """A state with these positions [particle, lane] at the background temperature."""
    x = jnp.asarray(x, devices.theta_0.dtype)
    g = relative_conductance(x, devices.parameters["tunnelling_length"])
    return DiffusiveState(x, devices.theta_0, jnp.zeros_like(x), g)


def elsewhere(monkeypatch: pytest.MonkeyPatch, **fields: str) -> None:
    """This process says that it is another machine from here on."""
    true = identity._fixed()
    monkeypatch.setattr(identity, "_fixed", lambda: true | fields)


_programs: dict[str, program.Program] = {}


@pytest.fixture(scope="module")
def unpolished() -> Iterator[None]:
    """The simulation is compiled as everything else is here: for a file that looks at what stands around numbers, or at
    what the equations say, and at no bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "compiler_options", lambda backend: {})
        patch.setattr(program, "_programs", _programs)
        yield


@pytest.fixture
def double() -> Iterator[None]:
    """Double precision."""
    with jax.enable_x64(True):
        yield


def strong(tree: Any) -> Any:
    """The same numbers with types of their own. ``jnp.full(4, 0.1)`` takes on those of others, and a program that has
    been compiled for one of the two kinds is compiled again for the other."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as users do, anew each time: a function's compiled code outlives a monkeypatch."""

    def fresh(*arguments: Any) -> Any:
        return function(*arguments)

    return cast(Callable[..., Any], as_users(fresh))


def forget_programs() -> None:
    """Drop everything compiled, so that what is patched next (or patched back) takes effect."""
    program._programs.clear()
    clear: Callable[[], None] = jax.clear_caches
    clear()


@pytest.fixture
def patched_code() -> Iterator[None]:
    """For tests that patch the program: compiled code of before is not used, that of the test does not outlive it.

    Request it before ``monkeypatch``, so that it clears after the patches are undone.
    """
    forget_programs()
    yield
    forget_programs()


class Ended(NamedTuple):
    """How a command came out."""

    code: int
    out: str
    err: str


@pytest.fixture
def mcdev_main(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The program in this process: its entry point with these arguments."""

    def call(*arguments: Any) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mcdev", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, *capfd.readouterr())

    return call


@contextlib.contextmanager
def alone() -> Iterator[Callable[[], None]]:
    """The house as it is without plugins: at the end, and where what is given is called to play another process."""
    rooms: list[Kinds[Any]] = list(plugins.LISTS.values())
    kinds, loaded = [dict(room._classes) for room in rooms], dict(plugins._loaded)

    def anew() -> None:
        for name in set(plugins._loaded) - set(loaded):
            sys.modules.pop(name, None)
        for here, before in zip([plugins._loaded, *(room._classes for room in rooms)], [loaded, *kinds], strict=True):
            here.clear()
            here.update(before)
        plugins.load_installed.cache_clear()

    yield anew
    anew()


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """The plugins that a test loads are no other test's."""
    with alone() as anew:
        yield anew
