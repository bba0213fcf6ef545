"""Equivalent circuit of an impedance spectrum: the ionic resistance and conductivity (Shin et al. 2022, Fig. 2c)."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from mcdev.measurements.contract import OK, UNDEFINED, Measurement, Reading, Trajectory
from mcdev.measurements.least_squares import levenberg_marquardt

_UNITS = {
    "conductivity": "S/m",
    "ionic_resistance": "ohm",
    "series_resistance": "ohm",
    "geometric_capacitance": "F",
    "layer_capacitance": "F",
    "rms_residual": "1",
}


def circuit_impedance(
    logs: dict[str, Float[Array, ""]], omega: Float[Array, " frequency"]
) -> Complex[Array, " frequency"]:
    """R_s + 1/(1/R_ion + iω C_geo) + 1/(iω C_dl) of the logarithms of its four elements (Ω, F)."""
    value = {name: jnp.exp(x) for name, x in logs.items()}
    bulk = 1.0 / (1.0 / value["ionic_resistance"] + 1j * omega * value["geometric_capacitance"])
    return value["series_resistance"] + bulk + 1.0 / (1j * omega * value["layer_capacitance"])


class EquivalentCircuit(Measurement):
    """Contacts, bulk (ionic resistance beside the geometric capacitance) and double layers in series.

    Least squares of the relative complex deviation, all frequencies alike (Levenberg-Marquardt in the logarithms of
    the elements). The paper's own circuit stands in a supplement that we do not have. σ = L/(R_ion A). An electronic
    leak beside the ions is counted as theirs: between 1 Hz and 1 MHz it is told from C_dl only by parts in 1e5.
    """

    kind: Literal["equivalent_circuit"] = "equivalent_circuit"
    reads: ClassVar[tuple[str, ...] | None] = ()
    result: Literal[
        "conductivity",
        "ionic_resistance",
        "series_resistance",
        "geometric_capacitance",
        "layer_capacitance",
        "rms_residual",
    ] = "conductivity"
    """Which number of the fit."""

    needs: ClassVar[tuple[str, ...]] = ()
    spectral: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    @property
    def unit(self) -> str:
        return _UNITS[self.result]

    @property
    def layer(self) -> bool:
        return self.result == "conductivity"

    @property
    def criterion(self) -> str:
        what = "L/(R_ion A)" if self.result == "conductivity" else self.result
        return f"{what} of the circuit R_s + (R_ion ∥ C_geo) + C_dl fitted to the spectrum"

    def measure(self, trajectory: Trajectory) -> Reading:
        omega, measured = 2 * jnp.pi * trajectory.frequency, trajectory.impedance
        fine = jnp.all(jnp.isfinite(measured))
        measured = jnp.where(fine, measured, 1.0 - 1.0j)
        size = jnp.abs(measured)
        high = jnp.argmax(omega)
        geometric = 1.0 / (omega[high] * jnp.maximum(-measured[high].imag, 1e-6 * size[high]))
        start = {
            "series_resistance": jnp.log(jnp.maximum(measured[high].real, 1e-6 * size[high])),
            "ionic_resistance": jnp.log(jnp.max(size)),
            "geometric_capacitance": jnp.log(geometric),
            "layer_capacitance": jnp.log(30.0 * geometric),
        }

        def deviation(x: Float[Array, " parameter"]) -> Float[Array, " part"]:
            logs = dict(zip(start, x, strict=True))
            relative = (circuit_impedance(logs, omega) - measured) / size
            return jnp.concatenate([relative.real, relative.imag])

        found, converged = levenberg_marquardt(deviation, jnp.stack(list(start.values())))
        elements = dict(zip(start, jnp.exp(found), strict=True))
        values = elements | {
            "conductivity": trajectory.cell_constant / elements["ionic_resistance"],
            "rms_residual": jnp.sqrt(jnp.mean(deviation(found) ** 2)),
        }
        good = fine & converged
        return Reading(jnp.where(good, values[self.result], jnp.nan), jnp.where(good, OK, UNDEFINED))
