"""Ions between two blocking electrodes: Poisson-Nernst-Planck with Stern layers and a steric limit.

    ∂c_s/∂t = -∂F_s/∂x,   F_s = -D_s m(E) c_s ∂/∂x [ln c_s + z_s φ + ν],   ν = -ln(1 - Σ c_t/c_max)
    -∂²φ/∂x² = κ² (Σ z_s c_s + ρ),        Stern layer: D_wall = (φ_electrode - φ_wall)/stern,   F_s = 0 at both walls

Lengths in the thickness L, potentials in U_T = k_B T/e, densities in N_0, time in seconds. m(E) = sinh(y)/y is the
hopping of ions in a strong field. ν is the steric limit of Bikerman (1942; Kilic, Bazant, Ajdari 2007,
doi:10.1103/PhysRevE.75.021502). Finite volumes with the flux of drift_diffusion.py, ν added to the energy.

Unknowns are φ and u_s = ln(c_s/c_0), c_0 = 1 - Σ c_t/c_max: c_s = e^{u_s}/(1 + Σ v e^{u_t}) keeps every density
between zero and the limit by construction. Lanes come last and never touch each other: each has its own time, step
and number of iterations, and one that fails keeps its last good state and a status.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, Int

from mcdev.integrators.block_thomas import Block, Cells, solve_block_tridiagonal
from mcdev.integrators.drift_diffusion import GAMMA, bernoulli_pair

PerLane = Float[Array, " lane"]
Densities = Float[Array, "species cell lane"]

RUNNING, FAILED = 0, 1
_NEWTON_ITERATIONS = 25
_NEWTON_TOLERANCE = 1e-3  # of the last change; Newton's next would be its square
_SHORTEST = 1e-12  # s; a step below it has failed
_ATTEMPTS = 100_000  # steps within one call of ``advance``
_HARDEST = 3.0  # where the argument of the field-dependent mobility is softly capped
_NOTHING = 1e-13  # densities (in N_0) that cannot matter for conservation


class IonState(eqx.Module):
    """What changes in time."""

    potential: Float[Array, "cell lane"]
    log_ratio: Densities
    """u_s = ln(c_s/c_0)."""
    step: PerLane
    """Proposed next step (s)."""
    status: Int[Array, " lane"]
    """RUNNING or FAILED."""
    steps: Int[Array, " lane"]
    """Accepted steps so far."""
    rejected: Int[Array, " lane"]
    iterations: Int[Array, " lane"]
    """Newton iterations so far."""


class _Local(NamedTuple):
    """Densities and what follows from them, in each cell."""

    density: Densities
    filling: Densities
    """θ_s = c_s/c_max."""
    nu: Cells


class _Flux(NamedTuple):
    """Fluxes through the inner faces [species, face, lane] and their derivatives."""

    value: Array
    by_difference: Array
    """dF/d(ψ_right - ψ_left)."""
    out: Array
    """Share that is proportional to the left density: rate m B(d)."""
    back: Array
    by_field: Array
    """dF/dφ_left through the mobility; dF/dφ_right is its negative."""


class IonTransport(eqx.Module):
    """A batch of layers. Arrays without a given shape are [lane]."""

    widths: Float[Array, " cell"]
    """Of the cells, as shares of the thickness."""
    charges: tuple[int, ...] = eqx.field(static=True)
    screening: PerLane
    """κ² = e N_0 L²/(ε U_T)."""
    stern: PerLane
    """ε/(C_S L)."""
    rates: Float[Array, "species lane"]
    """D_s/L² (1/s)."""
    packing: PerLane
    """v = N_0/c_max; zero is the dilute limit."""
    fixed_charge: PerLane
    """ρ, of the immobile ions, in e N_0."""
    field_scale: PerLane
    """U_T/(L E_0); zero for a mobility that does not depend on the field."""
    volt: PerLane
    """One volt in U_T."""
    tolerance: float = eqx.field(static=True, default=1e-2)
    """Of a step's error: charge per area in the wrong place over that of the Stern layer at one volt."""
    fixed_step: float = eqx.field(static=True, default=0.0)
    """If above zero, all steps are as long (s), for tables of convergence."""

    # -------------------------------------------------------------------------------- states

    def rest(self, contents: Float[Array, "species lane"]) -> IonState:
        """Uniform densities (in N_0) at zero voltage; electroneutral if the fixed charge makes it so."""
        shape = (self.widths.shape[0], contents.shape[1])
        u = jnp.log(contents / (1.0 - self.packing * jnp.sum(contents, axis=0)))
        zero = jnp.zeros(shape[1], jnp.int32)
        return IonState(
            potential=jnp.zeros(shape, u.dtype),
            log_ratio=jnp.broadcast_to(u[:, None, :], (u.shape[0], *shape)),
            step=jnp.full(shape[1], 1e-3, u.dtype),
            status=zero,
            steps=zero,
            rejected=zero,
            iterations=zero,
        )

    def densities(self, state: IonState) -> Densities:
        """c_s in N_0."""
        return self._local(state.log_ratio).density

    def wall_field(self, state: IonState, voltage: PerLane) -> PerLane:
        """Field at the left wall in U_T/L (with blocking electrodes and neutral contents the same at the right)."""
        return (voltage - state.potential[0]) * self._wall_conductances()[0]

    def _local(self, u: Densities) -> _Local:
        u = jnp.minimum(u, 600.0)
        occupied = self.packing * jnp.exp(u)
        whole = 1.0 + jnp.sum(occupied, axis=0)
        return _Local(jnp.exp(u) / whole, occupied / whole, jnp.log(whole))

    def _gaps(self) -> Float[Array, "face 1"]:
        return 0.5 * (self.widths[1:] + self.widths[:-1])[:, None]

    def _wall_conductances(self) -> tuple[PerLane, PerLane]:
        return 1.0 / (self.stern + 0.5 * self.widths[0]), 1.0 / (self.stern + 0.5 * self.widths[-1])

    # -------------------------------------------------------------------------------- one implicit stage

    def _flux(self, potential: Cells, here: _Local) -> _Flux:
        gap = self._gaps()
        rise = potential[1:] - potential[:-1]
        field = -rise / gap * self.field_scale
        capped = _HARDEST * jnp.tanh(field / _HARDEST)
        small = jnp.abs(capped) < 1e-4
        safe = jnp.where(small, 1.0, capped)
        sinh = jnp.sinh(safe)
        mobility = jnp.where(small, 1.0 + capped**2 / 6.0, sinh / safe)
        slope = jnp.where(small, capped / 3.0, (jnp.cosh(safe) - sinh / safe) / safe)
        slope = slope * (1.0 - (capped / _HARDEST) ** 2) * self.field_scale / gap  # dm/dφ_left

        charge = jnp.asarray(self.charges, potential.dtype)[:, None, None]
        d = charge * rise + (here.nu[1:] - here.nu[:-1])
        b, b_back, b_slope = bernoulli_pair(d)
        rate = self.rates[:, None, :] / gap
        left, right = here.density[:, :-1], here.density[:, 1:]
        plain = rate * (b * left - b_back * right)
        return _Flux(
            value=mobility * plain,
            by_difference=rate * mobility * (b_slope * left - (1.0 + b_slope) * right),
            out=rate * mobility * b,
            back=rate * mobility * b_back,
            by_field=plain * slope,
        )

    def _poisson(self, potential: Cells, here: _Local, voltage: PerLane) -> Cells:
        """Residual of Gauss's law in each cell."""
        left, right = self._wall_conductances()
        inner = (potential[:-1] - potential[1:]) / self._gaps()
        field = jnp.concatenate([((voltage - potential[0]) * left)[None], inner, (potential[-1] * right)[None]])
        charge = jnp.tensordot(jnp.asarray(self.charges, potential.dtype), here.density, 1) + self.fixed_charge
        return field[1:] - field[:-1] - self.screening * self.widths[:, None] * charge

    def _blocks(self, here: _Local, flux: _Flux, weight: PerLane, mass: Any) -> tuple[Block, Block, Block]:
        """Jacobian of (Gauss's law; mass · h c_s + weight · div F_s) by (φ, u_1, …): lower, diagonal, upper."""
        species = range(len(self.charges))
        h, gap = self.widths[:, None], self._gaps()
        c, theta = here.density, here.filling
        none = jnp.zeros_like(flux.value[0][:1])

        def leaving(x: Cells) -> Cells:  # of a face, as seen from its left cell
            return jnp.concatenate([x, none])

        def entering(x: Cells) -> Cells:
            return jnp.concatenate([none, x])

        first, last = self._wall_conductances()
        inner = jnp.broadcast_to(1.0 / gap, flux.value[0].shape)
        right_of = jnp.concatenate([inner, jnp.broadcast_to(last, none.shape)])
        left_of = jnp.concatenate([jnp.broadcast_to(first, none.shape), inner])
        charge_by = [
            -self.screening * h * sum(z * c[s] * ((s == t) - theta[t]) for s, z in enumerate(self.charges))
            for t in species
        ]
        diagonal: Block = [[right_of + left_of, *charge_by]]
        lower: Block = [[-left_of, *([None] * len(species))]]
        upper: Block = [[-right_of, *([None] * len(species))]]
        for s in species:
            by_left = weight * (flux.by_field[s] - self.charges[s] * flux.by_difference[s])  # dF/dφ_left
            row, low, up = [leaving(by_left) + entering(by_left)], [-entering(by_left)], [-leaving(by_left)]
            for t in species:
                own = float(s == t)
                left = weight * (
                    -flux.by_difference[s] * theta[t, :-1] + flux.out[s] * c[s, :-1] * (own - theta[t, :-1])
                )
                right = weight * (flux.by_difference[s] * theta[t, 1:] - flux.back[s] * c[s, 1:] * (own - theta[t, 1:]))
                row.append(mass * h * c[s] * (own - theta[t]) + leaving(left) - entering(right))
                low.append(-entering(left))
                up.append(leaving(right))
            diagonal.append(row)
            lower.append(low)
            upper.append(up)
        return lower, diagonal, upper

    def _stage(
        self,
        potential: Cells,
        u: Densities,
        target: Densities,
        weight: PerLane,
        voltage: PerLane,
        live: Bool[Array, " lane"],
    ) -> tuple[Cells, Densities, Bool[Array, " lane"], Int[Array, " lane"]]:
        """h c_s + weight · div F_s = h target_s with Gauss's law, by Newton's method from a guess.

        Full steps in φ. In u a switching update while the change is large: what grows is added to c, what falls to
        ln c. Small changes are added to c_s and c_0 exactly, so that ions are conserved to rounding whatever is left
        of the residual. Returns also which lanes converged, and the iterations that each took.
        """
        h = self.widths[:, None]

        def unfinished(carry: tuple[Any, ...]) -> Bool[Array, ""]:
            return jnp.any(carry[3])

        def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            count, potential, u, going, taken, converged = carry
            here = self._local(u)
            flux = self._flux(potential, here)
            none = jnp.zeros_like(flux.value[:, :1])
            divergence = jnp.concatenate([flux.value, none], 1) - jnp.concatenate([none, flux.value], 1)
            residual = h * (here.density - target) + weight * divergence
            lower, diagonal, upper = self._blocks(here, flux, weight, 1.0)
            right = [-self._poisson(potential, here, voltage), *(-r for r in residual)]
            phi_change, *changes = solve_block_tridiagonal(lower, diagonal, upper, right)
            change = jnp.stack(changes)
            largest = jnp.maximum(jnp.max(jnp.abs(phi_change), 0), jnp.max(jnp.abs(change), (0, 1)))
            finite = jnp.isfinite(largest)
            w = jnp.sum(here.filling * change, axis=0)  # -d ln c_0
            exact = jnp.log1p(jnp.maximum(change - w, -0.9)) - jnp.log1p(jnp.maximum(-w, -0.9))
            switching = jnp.where(change > 0, jnp.log1p(jnp.maximum(change, 0.0)), change)
            update = jnp.where(largest < 0.5, exact, switching)
            moving = going & finite
            after_phi = jnp.where(moving, potential + phi_change, potential)
            after_u = jnp.where(moving, u + update, u)
            going = moving & (largest >= _NEWTON_TOLERANCE) & (count + 1 < _NEWTON_ITERATIONS)
            converged |= moving & (largest < _NEWTON_TOLERANCE)
            return count + 1, after_phi, after_u, going, taken + moving, converged

        zero = jnp.zeros(live.shape, jnp.int32)
        start = (0, potential, u, live, zero, jnp.zeros_like(live))
        _, potential, u, _, taken, converged = lax.while_loop(unfinished, body, start)
        return potential, u, converged, taken

    # -------------------------------------------------------------------------------- time

    def advance(self, state: IonState, voltage: PerLane, duration: Float[Array, ""]) -> IonState:
        """The state after ``duration`` seconds at this voltage (U_T), by the L-stable two-stage SDIRK method of order 2
        (Alexander 1977, doi:10.1137/0714068) with steps that each lane chooses for itself."""

        def unfinished(carry: tuple[Any, ...]) -> Bool[Array, ""]:
            _, left, now = carry
            return jnp.any((left > 0) & (now.status == RUNNING))

        def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            count, left, now = carry
            live = (left > 0) & (now.status == RUNNING)
            wished = jnp.full_like(now.step, self.fixed_step) if self.fixed_step else now.step
            pieces = jnp.ceil(left / wished * (1.0 - 1e-9))
            step = jnp.where(live, left / jnp.maximum(pieces, 1.0), 1.0)  # equal steps to the end, no sliver
            potential, u, good, error, room, taken = self._try(now, voltage, step, live)
            if self.fixed_step:
                accepted, proposed = live & good, now.step
            else:
                accepted = live & good & (error <= 1.0)
                wish = jnp.where(good, jnp.clip(0.9 / jnp.sqrt(jnp.maximum(error, 1e-8)), 0.2, 4.0), 0.4)
                proposed = step * jnp.where(good, jnp.minimum(wish, room), wish)
                # A step cut short by the end of the interval says nothing against the longer one wished for.
                proposed = jnp.where(
                    accepted & (pieces <= 1), jnp.maximum(proposed, jnp.where(wish >= 1, wished, 0)), proposed
                )
            lost = live & ~accepted & ((proposed < _SHORTEST) | (count > _ATTEMPTS) | (self.fixed_step > 0))
            after = IonState(
                potential=jnp.where(accepted, potential, now.potential),
                log_ratio=jnp.where(accepted, u, now.log_ratio),
                step=jnp.where(live, proposed, now.step),
                status=jnp.where(lost, FAILED, now.status),
                steps=now.steps + accepted,
                rejected=now.rejected + (live & ~accepted),
                iterations=now.iterations + taken,
            )
            rest = jnp.where(pieces <= 1, 0.0, left - step)
            return count + 1, jnp.where(accepted, rest, left), after

        left = jnp.where(jnp.isfinite(voltage), duration, jnp.zeros_like(voltage))
        status = jnp.where(jnp.isfinite(voltage), state.status, FAILED)
        begin = eqx.tree_at(lambda s: s.status, state, status)
        return lax.while_loop(unfinished, body, (0, left, begin))[2]

    def _try(
        self, now: IonState, voltage: PerLane, step: PerLane, live: Bool[Array, " lane"]
    ) -> tuple[Cells, Densities, Bool[Array, " lane"], PerLane, PerLane, Int[Array, " lane"]]:
        """One step: potential, u, whether it can be used, its error over the tolerance, the factor by which the step
        may grow before a density would be overdrawn, and the iterations it took."""
        weight = GAMMA * step
        start = self._local(now.log_ratio)
        phi_1, u_1, good_1, taken_1 = self._stage(now.potential, now.log_ratio, start.density, weight, voltage, live)
        first = self._local(u_1)
        target = start.density + (1.0 - GAMMA) / GAMMA * (first.density - start.density)
        # The second stage starts from an extrapolation, which may overdraw an ion or the vacancies. Where there is next
        # to nothing of them that is set right; elsewhere the step is too long.
        bare, packed = start.density < _NOTHING, jnp.exp(-start.nu) < _NOTHING
        target = jnp.where(bare, jnp.maximum(target, 0.1 * first.density), target)
        filled = jnp.sum(self.packing * target, axis=0)
        target = jnp.where(packed & (filled > 1.0), target / filled, target)
        overdrawn = jnp.any(target <= 0, (0, 1)) | jnp.any(~packed & (filled >= 1.0), 0)
        usable = live & good_1 & ~overdrawn
        safe = jnp.where(usable, target, first.density)
        ahead = (1.0 - GAMMA) / GAMMA
        phi_guess, u_guess = phi_1 + ahead * (phi_1 - now.potential), u_1 + ahead * (u_1 - now.log_ratio)
        phi_2, u_2, good_2, taken_2 = self._stage(phi_guess, u_guess, safe, weight, voltage, usable)
        second = self._local(u_2).density
        wrong = (second - target) - (first.density - start.density)  # weight · (f_2 - f_1)
        charge = jnp.max(jnp.sum(self.widths[:, None] * jnp.abs(wrong), axis=1), axis=0)
        error = charge * self.screening * self.stern / self.volt / self.tolerance
        # weight · rate of what decays fastest, of the ions and of the vacancies
        decay = jnp.max(jnp.where(bare, 0.0, start.density / jnp.maximum(first.density, 1e-300) - 1.0), (0, 1))
        decay = jnp.maximum(decay, jnp.max(jnp.where(packed, 0.0, jnp.expm1(first.nu - start.nu)), 0))
        room = jnp.clip(0.55 / jnp.maximum(decay, 1e-6), 0.2, 4.0)
        good = usable & good_2 & jnp.isfinite(error)
        return phi_2, u_2, good, jnp.where(good, error, 1e8), jnp.where(good, room, 0.4), taken_1 + taken_2

    # -------------------------------------------------------------------------------- small signals

    def charge_response(
        self, state: IonState, voltage: PerLane, angular_frequency: Float[Array, ""]
    ) -> Complex[Array, " lane"]:
        """d(field at the left wall)/dV of the equations linearised about a state: the electrode's charge per volt at
        this angular frequency, over that of the empty layer (ε/L). The admittance is iω (ε A/L) times this."""
        here = self._local(state.log_ratio)
        flux = self._flux(state.potential, here)
        one = jnp.ones_like(voltage)
        lower, diagonal, upper = self._blocks(here, flux, one, 1j * angular_frequency)
        left, _ = self._wall_conductances()
        push = jnp.zeros_like(state.potential).at[0].set(left)
        right = [push, *([jnp.zeros_like(push)] * len(self.charges))]
        phi, *_ = solve_block_tridiagonal(lower, diagonal, upper, right)
        return left * (1.0 - phi[0])
