"""Mean first-passage time over the interfacial barrier against the step, for each scheme; exact value by quadrature.

python benchmarks/first_passage.py          table, and benchmarks/results/first_passage.json
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from step_cost import PARTICLES, record
from time_to_accuracy import Estimate, Row, percent

from mcdev.devices.landscape import InterfacialWells, Landscape, PeriodicPinning
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import SCHEMES, diffuse
from mcdev.integrators.noise import realisation_key

CURVATURE = 1777.0
"""The bound on max|U''| that the defaults use, in w_p/L²."""


def passage_study(scale: float) -> list[Row]:
    """Mean first-passage time over the interfacial barrier at θ = 0.45 and 3 V_th, from the well's bottom to a point
    so far down the tilted landscape that nobody returns, against the quadrature

        T = (η/θ) ∫ dy e^{U/θ} ∫_{-1}^y dz e^{-U/θ},   the wall at -1 reflecting.

    Whoever arrives is put back; a stationary renewal process has exactly one arrival per T.
    """
    eta, theta, voltage, drift, lanes, goal = 4.0, 0.45, 3.0, 9.0, 256, -0.4
    one = jnp.ones(1)
    landscape = Landscape(
        InterfacialWells.of(4.5 * one, 0.85 * one, 0.1 * one), PeriodicPinning.of(0.15 * one, 0.0 * one), None
    )
    x = np.linspace(-1.0, goal, 100_001)
    wells = -4.5 * (np.exp(-(((x + 0.85) / 0.1) ** 2)) + np.exp(-(((x - 0.85) / 0.1) ** 2)))
    u = (wells + 0.5 * np.sin(2 * np.pi / 0.15 * x) - drift * voltage * x) / theta
    start, dx = int(np.argmin(np.where(x < -0.75, u, np.inf))), x[1] - x[0]
    exact = eta / theta * float(np.sum(np.exp(u[start:]) * np.cumsum(np.exp(-u))[start:])) * dx**2
    key = realisation_key(jnp.uint32(7), jnp.arange(lanes, dtype=jnp.uint32), jnp.uint32(0))

    @partial(jax.jit, static_argnames="name")
    def arrivals(x: Any, step: Any, first: Any, pairs: Any, name: str) -> Any:
        h = jnp.full(lanes, step / eta)
        s = jnp.sqrt(2 * theta * h)

        def body(i: Any, carry: Any) -> Any:
            x, before, count = carry
            pull = drift * voltage
            clock, one = jnp.full(lanes, first + i), Interval.alike(step, jnp.uint32(1), lanes)
            x, before = diffuse(SCHEMES[name], lambda x: landscape.force(x) + pull, x, before, h, s, key, clock, one)
            there = x > goal
            return jnp.where(there, jnp.float32(x_start), x), before, count + there

        return jax.lax.fori_loop(jnp.uint32(0), pairs, body, (x, jnp.zeros_like(x), jnp.zeros(x.shape, jnp.int32)))

    rows: list[Row] = []
    x_start = x[start]
    for name, scheme in SCHEMES.items():
        for share in (1.0, 2.0, 4.0):
            step = share * scheme.curvature_step / CURVATURE * eta
            burn, counted = (jnp.uint32(n * exact / (2 * step)) for n in (5, max(40 * scale, 1)))
            walkers = jnp.full((PARTICLES, lanes), x_start, jnp.float32)
            walkers, _, _ = arrivals(walkers, jnp.float32(step), jnp.uint32(0), burn, name)
            _, _, count = arrivals(walkers, jnp.float32(step), burn, counted, name)
            number = np.asarray(count, np.float64)
            mean = 2 * step * float(counted) / number.mean()
            se = number.std(ddof=1) / number.mean() / np.sqrt(number.size)
            row = {"scheme": name, "share": share, "step": step, "mean": mean, "exact": exact}
            rows.append(row | {"bias": Estimate(mean / exact - 1, float(se))})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the arrivals counted (for a quick look)")
    rows = passage_study(parser.parse_args().scale)
    print("| scheme | h max abs U'' | step (1/κ) | bias of the mean first-passage time, % |\n|---|---|---|---|")
    for row in rows:
        curvature = SCHEMES[row["scheme"]].curvature_step * row["share"]
        print(f"| {row['scheme']} | {curvature:.3g} | {row['step']:.3g} | {percent(row['bias'])} |")
    record("first_passage", {"passage": rows})


if __name__ == "__main__":
    main()
