"""Points of an impedance spectrum: what a Bode or a Nyquist plot shows at some frequencies."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from mcdev.measurements.contract import OK, UNDEFINED, Measurement, Reading, Trajectory
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Unit

_UNITS = {"magnitude": "ohm", "phase": "rad", "resistance": "ohm", "reactance": "ohm"}


class ImpedanceAt(Measurement):
    """Impedance at some frequencies, a list with one entry a frequency.

    Between the frequencies of the protocol's spectrum ln |Z| and the phase are straight lines over the logarithm of
    frequency. Beyond its ends there is no value.
    """

    kind: Literal["impedance_at"] = "impedance_at"
    reads: ClassVar[tuple[str, ...] | None] = ()
    part: Literal["magnitude", "phase", "resistance", "reactance"] = "magnitude"
    """|Z|; the phase, negative of a capacitance; Z', the real part; Z'', the imaginary part, negative of a
    capacitance."""
    frequencies: tuple[Annotated[float, Unit("Hz", gt=0)], ...] = Field((1e1, 1e2, 1e3, 1e4, 1e5), min_length=1)
    """At which it is read."""

    needs: ClassVar[tuple[str, ...]] = ()
    spectral: ClassVar[bool] = True

    @property
    def nonnegative(self) -> bool:
        return self.part == "magnitude"

    @property
    def unit(self) -> str:
        return _UNITS[self.part]

    @property
    def criterion(self) -> str:
        at = ", ".join(f"{f:g}" for f in self.frequencies)
        return f"{self.part} of the impedance at {at} Hz, ln |Z| and phase straight over ln f between the spectrum's"

    def entries(self, timeline: Timeline) -> int:
        return len(self.frequencies)

    def axis(self, timeline: Timeline) -> tuple[str, str, np.ndarray]:
        return "frequency", "Hz", np.array(self.frequencies)

    def measure(self, trajectory: Trajectory) -> Reading:
        order = jnp.argsort(trajectory.frequency)
        known, z = jnp.log(trajectory.frequency[order]), trajectory.impedance[order]
        at = jnp.log(jnp.asarray(self.frequencies, known.dtype))
        size = jnp.exp(jnp.interp(at, known, jnp.log(jnp.abs(z))))
        phase = jnp.interp(at, known, jnp.unwrap(jnp.angle(z)))
        values = {
            "magnitude": size,
            "phase": phase,
            "resistance": size * jnp.cos(phase),
            "reactance": size * jnp.sin(phase),
        }[self.part]
        edge = 1e-4  # of ln f: a frequency at an end of the spectrum is within it, in single precision too
        inside = (at >= known[0] - edge) & (at <= known[-1] + edge) & jnp.isfinite(values)
        return Reading(jnp.where(inside, values, jnp.nan), jnp.where(inside, OK, UNDEFINED))
