"""What a device of nanoparticles will do, by quadrature alone: starting points for a fit, in milliseconds.

    T = (η/θ) ∫ dy e^E(y) ∫ dz e^-E(z),   E = (U - f v x)/θ        mean first passages (Gardiner, §5.2.7)

of one particle. Devices wait for the first of many particles and relax when the last bridge breaks, so these times set
the scale of the delay and of the relaxation, and not their values; how they change with a parameter, and with the
temperature, carries over.

    from mcdev.devices.passages import passages
    print(passages(mcdev.load("my_device.toml").device, voltage=0.75))
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.constants import Boltzmann, elementary_charge
from scipy.integrate import cumulative_trapezoid
from scipy.special import logsumexp

from mcdev.devices.nanoparticles import Nanoparticles
from mcdev.machine.environment import computing

_POINTS = 20_001
_WARMER = 1.05  # for the activation energy


class Passages(NamedTuple):
    """Of the median device; SI units, energies in eV."""

    escape: float
    """Mean time from the bottom of the left cluster to the middle of the gap under the voltage (s)."""
    relaxation: float
    """Mean time from the middle of the gap to the bottom of either cluster at 0 V (s)."""
    activation_energy: float
    """-d ln(relaxation)/d(1/k_B T) at the background temperature (eV)."""
    share_held: float
    """Equilibrium share of the particles that stand nearer than two widths to a cluster's centre."""
    on_off: float
    """1/g at rest, with the innermost particle of each cluster where half of all devices have it."""
    athermal_voltage: float
    """Voltage at which the field flattens the interfacial well, 0.86 w_i/(R_I f) V_th: an upper bound of V_th (V)."""


def passages(device: Nanoparticles, voltage: float) -> Passages:
    """``voltage``: of the pulse, across the device (V)."""
    p = device.median
    x = np.linspace(-1.0, 1.0, _POINTS)
    with computing(True):
        landscape = device.median_landscape(np.float64)
        u = np.asarray(landscape.single_particle_energy(jnp.asarray(x)[:, None]))[:, 0]
    theta = device.median_theta
    pull = p["drift"] * voltage / p["threshold_voltage"]
    second = p["friction"] / p["cooling_rate"]
    bottom = int(np.argmin(np.where(x < 0, u, np.inf)))
    middle = _POINTS // 2

    def escape() -> float:
        e = (u - pull * x) / theta
        low = e.min()
        below = cumulative_trapezoid(np.exp(low - e), x, initial=0.0)
        between = slice(bottom, middle + 1)
        log = np.log(below[between]) + e[between] - low
        return second / theta * float(np.exp(logsumexp(log)) * (x[1] - x[0]))

    def relaxation(theta: float) -> float:
        other = int(np.argmin(np.where(x > 0, u, np.inf)))
        inside = slice(bottom, other + 1)
        e, at = u[inside] / theta, x[inside]
        e = e - e.min()
        up = cumulative_trapezoid(np.exp(e), at, initial=0.0)
        held = cumulative_trapezoid(np.exp(-e), at, initial=0.0)
        moved = cumulative_trapezoid(np.exp(e) * held, at, initial=0.0)
        start = middle - bottom
        return second / theta * float(moved[-1] / up[-1] * up[start] - moved[start])

    weight = np.exp((u.min() - u) / theta)
    weight /= weight.sum()
    near = np.abs(np.abs(x) - p["interfacial_centre"]) < 2.0 * p["interfacial_width"]
    # Half of all devices have none of their n particles of a half further in: (1 - q)^n = 1/2.
    further = 1.0 - 0.5 ** (2.0 / device.particles)
    left = np.cumsum(np.where(x < 0, weight, 0.0))
    innermost = float(np.interp((1.0 - further) * left[middle], left[: middle + 1], x[: middle + 1]))
    gaps = device.particles + 1
    exponent = (2.0 * abs(innermost) - 2.0 / gaps) / p["tunnelling_length"]
    warm = relaxation(_WARMER * theta)
    slope = np.log(relaxation(theta) / warm) / (1.0 - 1.0 / _WARMER)
    return Passages(
        escape=escape(),
        relaxation=relaxation(theta),
        activation_energy=float(slope * Boltzmann * p["background_temperature"] / elementary_charge),
        share_held=float(weight[near].sum()),
        on_off=float(np.exp(exponent) / gaps),
        athermal_voltage=device.steepest / p["drift"] * p["threshold_voltage"],
    )
