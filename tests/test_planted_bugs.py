"""A test of the tests: with a bug planted in the program, the checks of the other files must fail.

Each bug is planted where it would be made, the program is compiled anew, and the check that guards against it is
called. Without a bug the same checks pass in their own files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_diffusive
import test_hopping
import test_langevin
import test_tunnelling
import test_unequal_wells

import mcdev.devices.diffusive_particles
import mcdev.devices.milestones
import mcdev.devices.tunnelling
import mcdev.integrators.langevin
from mcdev.devices.diffusive_hopping import DiffusiveHoppingDevices
from mcdev.devices.diffusive_particles import DiffusiveDevices
from mcdev.devices.landscape import InterfacialWells
from mcdev.integrators.noise import normal_pair

Plant = Callable[[pytest.MonkeyPatch], None]


def noise_scaled(factor: float) -> Plant:
    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        def scaled(*arguments: Any) -> Any:
            return tuple(factor * x for x in normal_pair(*arguments))

        monkeypatch.setattr(mcdev.integrators.langevin, "normal_pair", scaled)

    plant.__name__ = f"noise_times_{factor}"
    return plant


def missing_root_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """s = sqrt(θ h) instead of sqrt(2 θ h)."""
    right = mcdev.integrators.langevin.diffuse

    def wrong(scheme: Any, force: Any, x: Any, before: Any, h: Any, s: Any, *rest: Any) -> Any:
        return right(scheme, force, x, before, h, s / np.float32(np.sqrt(2)), *rest)

    monkeypatch.setattr(mcdev.devices.diffusive_particles, "diffuse", wrong)


def same_noise_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> Any:
        first, _ = normal_pair(*arguments)
        return first, first

    monkeypatch.setattr(mcdev.integrators.langevin, "normal_pair", wrong)


def walls_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcdev.integrators.langevin, "reflect", lambda x: x)


def walls_sticky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Particles stop at the walls instead of turning back."""
    monkeypatch.setattr(mcdev.integrators.langevin, "reflect", lambda x: jnp.clip(x, -1.0, 1.0))


def gaps_unsorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcdev.devices.tunnelling, "sort_particles", list)


def advance_with(name: str, change: Callable[[Any, Any], tuple[Any, Any]]) -> Plant:
    """Let ``advance`` see another voltage and current."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        right = DiffusiveDevices.advance

        def wrong(self: Any, state: Any, voltage: Any, current: Any, *rest: Any) -> Any:
            return right(self, state, *change(voltage, current), *rest)

        monkeypatch.setattr(DiffusiveDevices, "advance", wrong)

    plant.__name__ = name
    return plant


drift_reversed = advance_with("drift_reversed", lambda voltage, current: (-voltage, -current))
heating_lost = advance_with("heating_lost", lambda voltage, current: (voltage, 0 * current))
half_wave = advance_with("half_wave", lambda voltage, current: (jnp.maximum(voltage, 0), jnp.maximum(current, 0)))


def particle_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DiffusiveDevices.profile
    monkeypatch.setattr(DiffusiveDevices, "profile", lambda self, state: right(self, state._replace(x=state.x[1:])))


def ratio_lost(part: str) -> Plant:
    """The right well as deep as the left one in the force, or in the energy by which particles are drawn at rest."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        right = getattr(InterfacialWells, part)

        def wrong(self: InterfacialWells, x: Any, *bell: Any) -> Any:
            return right(InterfacialWells(self.depth, self.centre, self.per_width, self.steepness), x, *bell)

        monkeypatch.setattr(InterfacialWells, part, wrong)

    plant.__name__ = f"ratio_lost_in_{part}"
    return plant


def drawn_at_minima(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every particle at its milestone."""

    def wrong(self: DiffusiveHoppingDevices, n: Any, *_: Any) -> Any:
        upto = jnp.cumsum(n, axis=0)
        site = jnp.sum(jnp.arange(self.particles)[:, None, None] >= upto[None], axis=1)
        return jnp.take_along_axis(self.of.at, site, axis=0)

    monkeypatch.setattr(DiffusiveHoppingDevices, "positions", wrong)


def hops_with(name: str, change: Callable[[Any], Any], tilted: bool = True) -> Plant:
    """Let the chain have other rates, or not know of the field."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        right = mcdev.devices.milestones._chain

        def wrong(of: Any, pull: Any, theta: Any) -> Any:
            return change(right(of, pull if tilted else 0.0 * pull, theta))

        monkeypatch.setattr(mcdev.devices.milestones, "_chain", wrong)

    plant.__name__ = name
    return plant


weight_halved = hops_with("weight_halved", lambda of: of._replace(right=2.0 * of.right, left=2.0 * of.left))
one_sided = hops_with("one_sided", lambda of: of._replace(left=0.0 * of.left))
untilted = hops_with("untilted", lambda of: of, tilted=False)


def downhill() -> None:
    with jax.enable_x64(True):
        test_hopping.check_first_passages(test_hopping.REAL, 0.0891, 4.142)


def uphill() -> None:
    with jax.enable_x64(True):
        test_hopping.check_first_passages(test_hopping.PRINTED, 0.3, -9.0)


def hopping_at_rest() -> None:
    with jax.enable_x64(True):
        test_hopping.check_positions("rest")


def passage_under_bias() -> None:
    test_langevin.check_passage_time("heun", 0.45, 2.0, 256, multiple=3.0)


def boltzmann() -> None:
    test_langevin.check_boltzmann("heun")


FREE, WALLS = test_langevin.check_free_diffusion, test_langevin.check_walls
HAND, PERMUTED = test_tunnelling.check_hand_computed, test_tunnelling.check_permutations
NUMBER, HEATING = test_diffusive.check_particle_number, test_diffusive.check_heating
POLARITY = test_diffusive.check_polarity_symmetry


@pytest.mark.parametrize(
    ("plant", "check", "complaint"),
    [
        (noise_scaled(1.05), FREE, "mean square displacement"),
        (noise_scaled(1.05), boltzmann, "Boltzmann density at the end"),
        (noise_scaled(1.05), passage_under_bias, "passage time 0.6"),
        (missing_root_two, FREE, "mean square displacement"),
        (missing_root_two, boltzmann, "Boltzmann density at the end"),
        (same_noise_twice, FREE, "mean square displacement"),
        (walls_removed, WALLS, "outside the walls"),
        (walls_removed, NUMBER, "outside the walls"),
        (walls_sticky, WALLS, "not uniform"),
        (gaps_unsorted, HAND, "Not equal"),
        (gaps_unsorted, PERMUTED, "Not equal"),
        (drift_reversed, FREE, "drift"),
        (half_wave, POLARITY, "polarity"),
        (heating_lost, HEATING, "Not equal"),
        (particle_lost, NUMBER, "Not equal"),
        (drawn_at_minima, hopping_at_rest, "conductance at rest"),
        (weight_halved, downhill, "first passage"),
        (one_sided, uphill, "first passage"),
        (untilted, downhill, "first passage"),
        (ratio_lost("force"), test_unequal_wells.check_share, "share on the left 0.4"),
        (ratio_lost("energy"), test_unequal_wells.check_rest, "share on the left at rest"),
    ],
)
def test_a_planted_bug_is_seen(
    patched_code: None, monkeypatch: pytest.MonkeyPatch, plant: Plant, check: Callable[[], None], complaint: str
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=complaint):
        check()
