"""Two views of one law: the density of the nanoparticles' swarm (Fokker-Planck) against the particles (Langevin)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from conftest import array, devices_of, reduced

import mcdev
from mcdev.integrators.drift_diffusion import fokker_planck_step

DEVICES, PARTICLES, CELLS, BINS = 512, 40, 800, 20


def test_density_of_the_swarm_is_that_of_the_particles() -> None:
    """At 2 V_th without heating the particles are independent: after 0.15/κ their numbers in 20 bins, of 20480 in all,
    agree with the density within the binomial error (χ² per bin), though they have moved far from where they began."""
    volts, duration = 2.0, 0.15
    protocol = {"kind": "hold", "voltage": f"{volts} V", "duration": f"{duration} s", "samples": 2}
    experiment = reduced(protocol, ensemble={"devices": DEVICES}, heating=0.0, profile_count=BINS)
    tree = mcdev.run(experiment)
    counted = array(tree, "profile/density").values[0, 0, -1] * 2 / BINS * DEVICES

    edges = np.linspace(-1, 1, CELLS + 1)
    centres, widths = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    with jax.enable_x64(True):
        device = devices_of(experiment, 1, np.float64)
        theta = float(device.theta_0[0])
        energy = np.asarray(device.landscape.single_particle_energy(jnp.asarray(centres[:, None])))[:, 0] / theta
        start = np.exp(-energy)
        for half in (centres < 0, centres > 0):  # each half in equilibrium, with half of the particles
            start[half] *= 0.5 / np.sum((start * widths)[half])
        pull = float(device.parameters["drift"][0]) * volts / theta
        density = jnp.asarray(start[:, None])
        driven = jnp.asarray((energy - pull * centres)[:, None])
        steps = 300
        rate = jnp.asarray([theta / float(device.parameters["friction"][0])])
        step = jax.jit(
            lambda c: fokker_planck_step(c, driven, jnp.asarray(widths), rate, jnp.asarray(duration / steps))
        )
        for _ in range(steps):
            density = step(density)
    share = (np.asarray(density)[:, 0] * widths).reshape(BINS, -1).sum(1)
    total = DEVICES * PARTICLES
    before = (start * widths).reshape(BINS, -1).sum(1)

    def chi_square(expected: np.ndarray) -> float:
        kept = expected * total > 5
        return float(np.mean((counted - total * expected)[kept] ** 2 / (total * expected * (1 - expected))[kept]))

    np.testing.assert_allclose(share.sum(), 1.0, rtol=1e-9)
    assert chi_square(share) < 2.0
    assert chi_square(before) > 100
