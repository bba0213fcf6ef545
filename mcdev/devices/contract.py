"""What every device family provides: a table of the configuration, and a batch of devices built from it.

A *lane* is one realisation; arrays carry it last, because neighbouring lanes then do the same arithmetic on
neighbouring numbers. A new family is one new file with one class of each kind below, and one line in
``mcdev/devices/__init__.py``.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, UInt32

from mcdev.integrators.interval import Interval
from mcdev.kinds import Kind

LaneKey = tuple[UInt32[Array, " lane"], UInt32[Array, " lane"]]
PerLane = Float[Array, " lane"]


class Pace(NamedTuple):
    """How finely time must be cut while a voltage is applied; both in seconds."""

    coupling: float
    """Longest interval over which the circuit is solved once and the device's voltage held."""
    step: float
    """Longest step of the device's own integrator."""


FOLLOWED = 0.15
"""Longest interval in a circuit that divides the voltage, as a share of the relaxation time of a state that the current
follows: the midpoint rule over z relaxation times is wrong by z²/12, or 0.2 %, of what that state does."""


def per_lane(value: Any, dtype: Any, lanes: int | None = None) -> Any:
    """Numbers of a batch, the lanes last; one number for all of ``lanes``. They stay on the host, so that batches are
    joined before they go to an accelerator; what JAX traces (an export does) stays JAX's."""
    own: Any = jnp if isinstance(value, jax.Array) else np
    return own.asarray(value, dtype) if lanes is None else own.full(lanes, value, dtype)


class Devices(eqx.Module):
    """A batch of devices, one a lane. Immutable: what changes in time is the state.

    Every array in it, and in its state, has the lanes as its last axis, so that batches can be joined and cut."""

    noisy: ClassVar[bool] = False
    """Whether ``advance`` draws random numbers, so that where a device will be is not known beforehand."""

    @abc.abstractmethod
    def rest(self, key: LaneKey) -> Any:
        """The state of a rested device."""

    @abc.abstractmethod
    def current_law(self, state: Any) -> CurrentLaw:
        """The current-voltage law at this instant."""

    @abc.abstractmethod
    def advance(
        self,
        state: Any,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> Any:
        """The state an interval later, at this voltage (V) and current (A).

        ``clock`` counts the pairs of steps that each lane has taken since the cycle began; with ``key`` it names the
        random numbers.
        """

    def observe(self, state: Any, voltage: PerLane) -> dict[str, PerLane]:
        """What a recorder reads besides voltage and current, in SI units; names as in ``DeviceConfig.channels``."""
        return {}

    def profile(self, state: Any) -> dict[str, Float[Array, "bin lane"]]:
        """What varies along the device on the bins of ``DeviceConfig.profile_bins``; names as in
        ``DeviceConfig.profiles``."""
        return {}

    def snapshot(self, state: Any) -> dict[str, Float[Array, "part lane"]]:
        """Inner coordinates kept for the few realisations whose full trajectory is stored, in SI units; names as in
        ``DeviceConfig.coordinates``."""
        return {}

    def intact(self, state: Any) -> Bool[Array, " lane"]:
        """False where a realisation has left the numbers that mean something (overflow, NaN, no convergence). By
        default: where a number of its state is not finite."""
        finite = [jnp.all(jnp.isfinite(leaf), axis=tuple(range(leaf.ndim - 1))) for leaf in jax.tree.leaves(state)]
        return functools.reduce(jnp.logical_and, finite)

    def admittance(
        self, state: Any, voltage: PerLane, frequency: Float[Array, " frequency"]
    ) -> Complex[Array, "frequency lane"]:
        """Small-signal admittance (S): derivative of the current by the voltage at each frequency (Hz), from the
        equations linearised about this state. Only for families whose ``DeviceConfig.small_signal`` is true."""
        raise NotImplementedError(f"{type(self).__name__} has no linearised equations")


class CurrentLaw(eqx.Module):
    """Current against voltage with the state held: what a circuit needs to know of a device."""

    @abc.abstractmethod
    def current(self, voltage: PerLane) -> PerLane:
        """Current (A) at a voltage (V): of the voltage's sign, zero at zero, never decreasing."""

    @abc.abstractmethod
    def chord(self, voltage: PerLane) -> PerLane:
        """Current over voltage (S), finite at zero voltage too."""


class Observable(NamedTuple):
    unit: str
    long_name: str


CIRCUIT_CHANNELS = {
    "voltage": Observable("V", "source voltage"),
    "device_voltage": Observable("V", "voltage across the device"),
    "current": Observable("A", "current"),
    "conductance": Observable("S", "conductance (current over device voltage)"),
}
"""What is recorded of every device, whatever its family."""


class FullScale(NamedTuple):
    """G_max of each realisation, from its parameters."""

    words: str
    """Which conductance it is, for results."""
    of: Callable[[Mapping[str, Any]], Any]
    """G_max (S) from the parameters of the family by name, in SI units; of floats or of arrays [lane]."""


class Score(NamedTuple):
    """How a family's trajectories carry the derivative of their likelihood, for derivatives of what jumps."""

    table: DeviceConfig
    """The device as it is then simulated."""
    carry: Callable[[Any, Any], Any]
    """(some devices of an ensemble, or a direction of them; the whole ensemble's batch) → the same, whose state has a
    ``score`` and whose tangents are damped. Its snapshot gives ``score`` and ``feature``, its ``features`` what a
    critic may know of a state."""


class StateVariable(NamedTuple):
    """One number of a device's state, as a node of a circuit simulator holds it."""

    about: str
    """What it is, and its unit."""
    least: float | None = None
    """The smallest value that means something, where there is one."""
    most: float | None = None


class RateEquations(NamedTuple):
    """A device as d(state)/dt = rate(state, V), I = I(state, V): what a circuit simulator can be given (docs/spice.md).

    The exporter traces these functions with the parameters, and ``DeviceConfig.build``, ``Devices.rest`` and
    ``Devices.current_law`` too. What they do to a parameter or a state they do with operators, jax.numpy, ``per_lane``.
    """

    states: Mapping[str, StateVariable]
    """By the name of its node, in the order of the state's own arrays."""
    rate: Callable[[Any, Any, PerLane], Any]
    """d(state)/dt, of a batch of devices, their state and a voltage (V); the same function that ``advance`` follows."""
    notes: tuple[str, ...] = ()
    """Lines for the reader of an exported file: what is assumed, what is left out."""


class Accuracy(NamedTuple):
    """How accurate a device's equations are."""

    key: str
    """Of the device's table, that it depends on."""
    error: float
    """By which sweep points are compared."""
    text: str
    good: bool
    """Whether it is as it should be: a note then, else a warning."""


class DeviceConfig(Kind, abc.ABC):
    """The ``[device]`` table of one family. It must say ``pace`` and ``build``; all else has a default, which is what a
    device of one state without further abilities answers."""

    differentiable: ClassVar[bool] = True
    """Whether a trajectory depends smoothly on the parameters while its random numbers are held, so that it may be
    differentiated. Particles that hop do not: which barrier is crossed when decides everything."""
    in_reverse: ClassVar[bool] = True
    """Whether its trajectory may be differentiated in reverse mode: not where steps are chosen on the way."""
    adaptive: ClassVar[bool] = False
    """Whether each device chooses its own steps, so that what they cost depends on what it goes through."""
    call_steps: ClassVar[int] = 10_000
    """Steps after which a call of the compiled program ends, if its sample does: the grain of progress and of
    interruption, about a second."""
    alike: ClassVar[bool] = True
    """Whether two devices of equal parameters behave alike: no noise, nothing drawn but the parameters."""

    def idle(self, spectral: bool) -> Mapping[str, str]:
        """Parameter → why nothing depends on it as this device is set. ``spectral``: whether an impedance is taken."""
        return {}

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """Parameters on which nothing recorded depends but what stands on its axes, each with the parameters that would
        have to change with it to make another device."""
        return {}

    @property
    def disordered(self) -> bool:
        """Whether devices of equal parameters differ in something that stays with each of them."""
        return False

    @property
    def exact(self) -> bool:
        """Whether a calibration may follow derivatives along the trajectory. It may where devices are alike. The mean
        over a few frozen quantiles has steps in the parameters, and between two steps the derivative misses them."""
        return self.differentiable and self.alike

    @property
    def score(self) -> Score | None:
        """The estimator of its derivatives; None where a family has none. Raises ``ValueError`` for settings that it
        does not know."""
        return None

    @property
    def rate_equations(self) -> RateEquations | str:
        """The device as rate equations of a few states; or why it has none, and what to do instead."""
        return "its family states no rate equations (rate_equations in mcdev/devices/contract.py)"

    @property
    def channels(self) -> dict[str, Observable]:
        """Unit and long name of what ``Devices.observe`` returns."""
        return {}

    @property
    def coordinates(self) -> dict[str, Observable]:
        """Unit and long name of what ``Devices.snapshot`` returns."""
        return {}

    @property
    def profiles(self) -> dict[str, Observable]:
        """Unit and long name of what ``Devices.profile`` returns."""
        return {}

    @property
    def profile_bins(self) -> np.ndarray:
        """Centres of the bins of ``Devices.profile``, in metres; none if it returns nothing."""
        return np.empty(0)

    @property
    def parts(self) -> int:
        """Number of inner coordinates in ``Devices.snapshot``, for the memory they take."""
        return 0

    @property
    def lanes(self) -> dict[str, int]:
        """Backend (cpu, gpu, tpu) → realisations advanced together, on other backends than a CPU at most. A choice of
        speed that the random numbers do not depend on, but constant: it decides which realisations share a call."""
        return {"cpu": 256, "gpu": 65536, "tpu": 16384}

    @property
    def precision(self) -> Literal["float32", "float64"]:
        """What ``ensemble.precision = "auto"`` stands for."""
        return "float64"

    @property
    def single_precision(self) -> bool:
        """Whether float32 can be asked for."""
        return True

    @property
    def remedy(self) -> str:
        """What a user can change when realisations break down."""
        return "look for extreme parameters or voltages"

    @property
    def small_signal(self) -> bool:
        """Whether ``Devices.admittance`` exists, so that impedance spectra can be taken."""
        return False

    @property
    def layer(self) -> bool:
        """Whether it is a uniform layer with parameters ``thickness`` and ``area``, by which a resistance becomes a
        conductivity."""
        return False

    @property
    def reduced_units(self) -> dict[str, str]:
        """What one SI unit stands for where every scale of the device is one: ``{"s": "1/κ"}``; else empty."""
        return {}

    @property
    def full_scale(self) -> FullScale | None:
        """The largest conductance, G_max, that measurements refer to; None if the family has none."""
        return None

    @abc.abstractmethod
    def pace(self, voltage: float) -> Pace:
        """The default step and coupling interval while up to ``voltage`` volts are applied."""

    def divided_pace(self, voltage: float) -> Pace:
        """The same where a circuit divides the voltage by what the device's states are: an interval must then resolve
        states, too, that are followed exactly under a voltage that is known."""
        return self.pace(voltage)

    def references(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What a measurement may refer to besides what was recorded, one number a device: fields of
        ``measurements.contract.Trajectory`` by name. NaN where a family has none. Parameters in SI units; of floats or
        of arrays [lane]."""
        none = np.full(np.shape(next(iter(parameters.values()))), np.nan)
        return {
            "full_scale": self.full_scale.of(parameters) if self.full_scale else none,
            "cell_constant": parameters["thickness"] / parameters["area"] if self.layer else none,
        }

    def under(self, voltage: float) -> DeviceConfig:
        """The table as it is computed where up to this voltage (V) is applied: with what it leaves to the program
        chosen. By default nothing is."""
        return self

    def visited(self, most: Mapping[str, float]) -> list[Accuracy]:
        """What is known only after a run, for its results. ``most``: largest size of each recorded channel of which
        anything is known, of all but the last few devices (SI). Where a circuit holds several of them, of all that are
        recorded."""
        return []

    def events(self, voltage: float) -> float:
        """Events a second that are followed one by one in a device at equilibrium, without a voltage or with this one
        (V); 0 where a device is followed in steps."""
        return 0.0

    def rest_report(self, duration: float) -> list[str]:
        """Warnings if a device left alone for ``duration`` seconds would not stay as it starts."""
        return []

    def conflicts(self, kinetic: bool) -> list[tuple[str, Any, str]]:
        """(key, value, message) for settings that cannot serve the experiment. ``kinetic``: rates are measured."""
        return []

    def concerns(self) -> list[tuple[str, str]]:
        """(key, warning) for settings that run but make results doubtful."""
        return []

    def accuracy(self, voltage: float) -> list[Accuracy]:
        """How accurate the equations are up to this voltage (V, of the source), as far as it is known before a run."""
        return []

    def overdriven(self, voltage: float) -> list[tuple[str, str]]:
        """(key, warning) where up to this voltage (V, of the source) a device may leave the range in which its
        equations were found."""
        return []

    @abc.abstractmethod
    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> Devices:
        """The batch with these parameters (SI, one value a lane) for these device indices."""
