"""Ions between two blocking electrodes: Poisson-Nernst-Planck in one dimension, a batch of devices at once.

    -φ'' = κ² (Σ_s z_s c_s + ρ)
    ∂c_s/∂t = -∂F_s/∂x,   F_s = -r_s m(E) (∂c_s/∂x + c_s ∂(z_s φ + ν)/∂x),   ν = -ln(1 - v Σ c)

Reduced units: x in the thickness L, φ in U_T = kT/e, densities in N0, time in seconds; κ² = e N0 L²/(ε U_T),
r = D/L² in 1/s, v = N0/c_max. ν is the steric excess potential of a lattice gas, the modified Poisson-Nernst-Planck
equations of Kilic, Bazant and Ajdari (2007, doi:10.1103/PhysRevE.75.021503); v = 0 is the dilute limit. The mobility
grows with the field as m = sinh(y)/y, y = E/E0 (ion hopping: Mott and Gurney 1940), softly capped at y = 3. Both
electrodes block ions and carry a Stern layer; the left one is at the voltage, the right one is ground (Bazant,
Thornton, Ajdari 2004, doi:10.1103/PhysRevE.70.021506).

Space: finite volumes with Scharfetter-Gummel fluxes of the excess potential ("Sedan": Yu and Dutton 1988; Cancès,
Chainais-Hillairet, Fuhrmann, Gaudeul 2021, doi:10.1093/imanum/draa002), second order. Time: SDIRK2, second order, with
a step and a clock of its own for every lane. Unknowns are φ and u_s = ln(c_s/c_0), c_0 = 1 - v Σ c the share of
vacancies: 0 < c and v Σ c < 1 hold by construction. Newton's last correction is exactly additive in c, so that ions
are conserved to rounding.

Derivatives (jvp, vjp) are those of the accepted steps, each of which keeps its share of the interval: every stage
solves S(x, parameters, history) = 0, so that dx = (-∂S/∂x)⁻¹ dS at fixed x, the implicit function theorem, with the
matrix that Newton's method has anyway. What chose the steps (error, tolerance, the last voltage) has no derivative.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, Int

from mcdev.integrators import block_tridiagonal, swept
from mcdev.integrators.drift_diffusion import GAMMA, bernoulli_pair, gaps
from mcdev.integrators.ion_cells import (
    Beside,
    Cells,
    Densities,
    Faces,
    PerLane,
    Shared,
    field_mobility,
    gained,
    limited,
    linearised,
    misplaced,
    moved,
    newton,
    residual,
)

Unknowns = Float[Array, "cell unknown lane"]
"""φ, then u of each species."""

FINE, NO_STEP, TOO_MANY = 0, 1, 2
STATUS = {
    FINE: "fine",
    NO_STEP: "no step is short enough: Newton's method fails even at the smallest one; check the parameters",
    TOO_MANY: "the interval was not reached: raise the tolerance or `most_steps`",
}

TOLERANCE = 8e-3
"""Keeps the wall field within 4e-4 through a turn-on of a 100 nm film at 3.5 V (about 40 steps; 1e-3: 5e-5, 100)."""
VOLT = 38.68
"""One volt in units of kT/e at 300 K: sets the scale of the error only."""
_CONVERGED = 1e-3  # largest correction of u and φ after which one more is not needed: the next would be its square
_ADDITIVE = 0.5  # largest correction of u up to which densities, not their logarithms, are corrected
_ITERATIONS = 14
_HALVINGS = 40  # in a row, after which a lane has failed
_SHORTEST = 1e-15  # step over duration, below which a lane has failed; the first one tried is 1000 times that or more
_RECORDED = 128  # accepted steps in one call of `advance` that can be differentiated
_FIRST = 0.05  # first step after a change of voltage by one volt, in Debye times


class IonState(eqx.Module):
    """What a batch of devices remembers."""

    potential: Float[Array, "cell lane"]
    """φ at the cell centres, in kT/e."""
    log_ratio: Float[Array, "species cell lane"]
    """u = ln(c_s/c_0), ions per vacancy."""
    voltage: PerLane
    """The last voltage applied, in kT/e."""
    step: PerLane
    """Proposed time step, in s."""
    status: Int[Array, " lane"]
    """0, or why the lane stands still: see STATUS."""
    steps: Int[Array, " lane"]
    """Time steps accepted so far."""
    rejected: Int[Array, " lane"]
    """Time steps rejected so far, for their error or for a failure of Newton's method."""
    iterations: Int[Array, " lane"]
    """Newton iterations so far."""


class _March(NamedTuple):
    """Where each lane stands between two Newton iterations."""

    x: Unknowns
    start: Unknowns
    """Unknowns at the beginning of the step."""
    before: Densities
    """Densities at the beginning of the step."""
    history: Densities
    """Right-hand side of the stage: c - γ h f(c) = history."""
    clock: PerLane
    h: PerLane
    """The step being tried."""
    proposal: PerLane
    second: Bool[Array, " lane"]
    """Whether the lane is in its second stage."""
    tries: Int[Array, " lane"]
    """Newton iterations in this stage."""
    halvings: Int[Array, " lane"]
    """Rejections in a row."""
    attempts: Int[Array, " lane"]
    status: Int[Array, " lane"]
    steps: Int[Array, " lane"]
    rejected: Int[Array, " lane"]
    iterations: Int[Array, " lane"]


class _Correction(NamedTuple):
    """What one Newton iteration finds."""

    delta: Unknowns
    largest: Float[Array, "unknown lane"]
    """The largest size of each unknown's correction."""
    after: Densities
    """Densities, corrected."""
    filling: Float[Array, "cell 1 lane"]
    """Relative loss of vacancies."""
    misplaced: Float[Array, "species lane"]
    """Ions that went the wrong way, if this is the end of a step."""
    wanting: PerLane | None
    """In how many cells and species the history of the second stage would be below zero, if this is the end of the
    first stage. None: not counted yet."""


class _Record(NamedTuple):
    """The accepted steps of each lane, in order; zeros beyond the last."""

    h: Float[Array, "step lane"]
    first: Float[Array, "step cell unknown lane"]
    """Unknowns at the end of the first stage."""
    last: Float[Array, "step cell unknown lane"]
    """Unknowns at the end of the second stage, which is the end of the step."""
    pending: Unknowns
    """The first stage of the step being tried."""


class IonTransport(eqx.Module):
    """Parameters of a batch of devices, in reduced units."""

    widths: Float[Array, "cell lane"]
    """Widths of the cells in L; sum 1."""
    charges: tuple[int, ...] = eqx.field(static=True)
    """z of each mobile species."""
    screening: PerLane
    """κ² = e N0 L²/(ε U_T)."""
    stern: PerLane
    """ε/(C_S L)."""
    rates: Float[Array, "species lane"]
    """D_s/L² in 1/s."""
    packing: PerLane
    """v = N0/c_max; 0 for point ions."""
    fixed_charge: PerLane
    """ρ, immobile charge in e N0."""
    field_scale: PerLane
    """U_T/(L E0); 0 for a mobility without field."""
    tolerance: PerLane
    """Of the local error: ions that went the wrong way, in the charge that a double layer takes up at one volt."""
    fixed_step: PerLane
    """Step in s without error control (Newton's failure still halves it); 0 for adaptive steps."""
    most_steps: int = eqx.field(static=True, default=20_000)
    """Attempted steps in one call of ``advance``, after which a lane has failed."""

    def rest(self, contents: Float[Array, "species lane"]) -> IonState:
        """Uniform densities ``contents`` (in N0) at zero voltage; neutral if Σ z c + ρ = 0."""
        contents = jnp.maximum(contents, 1e-30)
        ratio = jnp.log(contents / (1 - self.packing * contents.sum(0)))
        cells, lanes = self.widths.shape[0], self.screening.shape
        none = jnp.zeros(lanes, jnp.int32)
        zero = jnp.zeros(lanes, contents.dtype)
        u = jnp.broadcast_to(ratio[:, None], (len(self.charges), cells, *lanes))
        potential = jnp.zeros((cells, *lanes), contents.dtype)
        return IonState(potential, u, zero, _FIRST * self._debye_time(), none, none, none, none)

    def densities(self, state: IonState) -> Float[Array, "species cell lane"]:
        """c of each species in N0."""
        return jnp.moveaxis(self._densities(_pack(state))[0], 0, 1)

    def wall_fields(self, state: IonState, voltage: PerLane) -> tuple[PerLane, PerLane]:
        """Fields in the Stern layers, left and right, in U_T/L: the charges on the electrodes, in ε U_T/L."""
        left, right = self._walls()
        return (voltage - state.potential[0]) * left, state.potential[-1] * right

    def advance(self, state: IonState, voltage: PerLane, duration: PerLane) -> IonState:
        """``duration`` seconds later, at constant voltage (in kT/e).

        Every lane takes its own steps; one that fails keeps its last good state and says so in ``status``. Derivatives
        by the parameters, the state's unknowns, voltage and duration are exact for the steps taken (NaN in a lane
        that takes more than 128 of them in one call).
        """
        return _advanced(self, state, voltage, duration)

    def charge_response(
        self, state: IonState, voltage: PerLane, angular_frequency: Float[Array, ""]
    ) -> Complex[Array, " lane"]:
        """d(left wall field)/d(voltage) at this frequency (rad/s), linearised about a steady state.

        The admittance of an area A is i ω (ε A/L) times this.
        """
        x = _pack(state)
        c, _ = self._densities(x)
        faces = self._faces(x, c, voltage, self._inverse_gaps())
        left, _ = self._walls()
        source = jnp.zeros_like(x).at[0, 0].set(left).astype(complex)
        one = jnp.ones_like(left)
        response = self._solve(c, faces, 1j * angular_frequency * one, one, source)
        return left * (1 - response[0, 0])

    # ---------------------------------------------------------------------------------- the march

    def _beginning(self, state: IonState, voltage: PerLane, duration: PerLane) -> _March:
        x = _pack(state)
        c = self._densities(x)[0]
        jump = jnp.abs(voltage - state.voltage)
        first = _FIRST * self._debye_time() * VOLT / jnp.where(jump > 0, jump, 1.0)
        proposal = jnp.where(jump > 0, jnp.minimum(state.step, first), state.step)
        proposal = jnp.where(self._debye_time() > 0, jnp.maximum(proposal, 1e3 * _SHORTEST * duration), jnp.nan)
        proposal = jnp.where(self.fixed_step > 0, self.fixed_step, proposal)
        none = jnp.zeros_like(state.status)
        time = jnp.zeros_like(proposal)
        return _March(
            x, x, c, c, time, _next_step(proposal, duration - time), proposal, none > 0, none, none, none,
            state.status, state.steps, state.rejected, state.iterations,
        )  # fmt: skip

    def _steps(self, state: IonState, voltage: PerLane, duration: PerLane) -> _March:
        def unfinished(march: _March) -> Bool[Array, ""]:
            return jnp.any(_open(march, duration))

        begin, inverse = self._beginning(state, voltage, duration), self._inverse_gaps()
        return lax.while_loop(unfinished, lambda march: self._iterate(march, voltage, duration, inverse)[0], begin)

    def _recorded(self, state: IonState, voltage: PerLane, duration: PerLane) -> tuple[_March, _Record]:
        """The same steps, and what their derivatives are taken from."""
        begin, inverse = self._beginning(state, voltage, duration), self._inverse_gaps()
        lanes = jnp.arange(begin.h.shape[0])
        empty = jnp.zeros((_RECORDED, *begin.x.shape), begin.x.dtype)
        record = _Record(jnp.zeros((_RECORDED, *begin.h.shape), begin.h.dtype), empty, empty, begin.x)

        def unfinished(both: tuple[_March, _Record]) -> Bool[Array, ""]:
            return jnp.any(_open(both[0], duration))

        def body(both: tuple[_March, _Record]) -> tuple[_March, _Record]:
            march, record = both
            after, x = self._iterate(march, voltage, duration, inverse)
            pending = jnp.where(after.second & ~march.second, x, record.pending)
            row = jnp.where(after.steps > march.steps, march.steps - state.steps, _RECORDED)  # beyond: dropped
            by_lane = jnp.moveaxis(pending, -1, 0), jnp.moveaxis(x, -1, 0)
            return after, _Record(
                record.h.at[row, lanes].set(march.h, mode="drop"),
                record.first.at[row, :, :, lanes].set(by_lane[0], mode="drop"),
                record.last.at[row, :, :, lanes].set(by_lane[1], mode="drop"),
                pending,
            )

        return lax.while_loop(unfinished, body, (begin, record))

    # ---------------------------------------------------------------------------------- one Newton iteration

    def _iterate(
        self, m: _March, voltage: PerLane, duration: PerLane, inverse: Float[Array, "face lane"]
    ) -> tuple[_March, Unknowns]:
        """One Newton iteration of every open lane, and the end of its stage or step where that is due; with the
        unknowns it arrived at.

        Lanes need not be in the same stage: both stages solve the same equation with another history.
        """
        active = _open(m, duration)
        gh = GAMMA * m.h
        delta, by_unknown, after, filling, wrong, wanting = self._correction(m, gh, voltage, inverse)
        du = delta[:, 1:]
        largest_u = jnp.max(by_unknown[1:], axis=0)
        largest = jnp.maximum(largest_u, by_unknown[0])
        additive = largest_u <= _ADDITIVE
        growth = jnp.where(additive, jnp.maximum(du / (1 - filling), -0.999), jnp.maximum(du, 0.0))
        change = jnp.where(additive | (du > 0), jnp.log(1 + growth), du)
        # not joined by concatenation: a GPU would make each array that it goes into by a kernel of its own
        potential = jnp.arange(delta.shape[1])[:, None] == 0
        x = m.x + jnp.where(potential, delta, jnp.pad(change, [(0, 0), (1, 0), (0, 0)]))

        converged = active & (largest < _CONVERGED)
        tries = m.tries + 1
        failed = active & ~converged & ((tries >= _ITERATIONS) | ~(largest < 1e6))
        first, last = converged & ~m.second, converged & m.second

        error = jnp.max(wrong, axis=0) / (self.tolerance * self._charge_scale())
        fixed = self.fixed_step > 0
        good = last & (fixed | (error <= 1.0))
        redo = failed | (last & ~good)
        factor = jnp.clip(0.9 / jnp.sqrt(jnp.maximum(error, 1e-30)), 0.2, 5.0)
        clock = jnp.where(good, m.clock + m.h, m.clock)
        clock = jnp.where(good & (clock >= duration * (1 - 1e-13)), duration, clock)
        factor = jnp.where(m.halvings > 0, jnp.minimum(factor, 1.0), factor)  # no growth straight after a rejection
        tried = jnp.where(last, m.h * factor, 0.5 * m.h)
        # an accepted step cut short by the end of the interval says nothing against the longer one proposed before
        longer = jnp.where(m.h < 0.999 * m.proposal, jnp.maximum(tried, m.proposal), tried)
        proposal = jnp.where(good, jnp.where(fixed, self.fixed_step, longer), jnp.where(redo, tried, m.proposal))
        h = jnp.where(good | redo, _next_step(proposal, duration - clock), m.h)
        halvings = jnp.where(good, 0, m.halvings + redo)
        attempts = m.attempts + (good | redo)
        stuck = (redo & (halvings > _HALVINGS)) | ~(proposal > _SHORTEST * duration)
        status = jnp.where(active & stuck, NO_STEP, m.status)
        status = jnp.where(active & (status == FINE) & (attempts >= self.most_steps), TOO_MANY, status)

        # guesses: on along the straight line; nothing known after a rejection
        reach = jnp.where(first, 1 / GAMMA - 1, jnp.where(good, GAMMA * h / m.h, 0.0))
        onward = x + jnp.clip(reach * (x - m.start), -1.0, 1.0)
        guess = jnp.where(redo, m.start, jnp.where(active, onward, m.x))
        if wanting is None:
            second = self._history(m.before, jnp.where(first, after, m.before))  # of the others nothing is wanted
        else:
            second = self._second(m.before, after, jnp.any(first & (wanting > 0)))
        history = jnp.where(first, second, m.history)
        history = jnp.where(good, after, jnp.where(redo, m.before, history))
        march = _March(
            x=guess,
            start=jnp.where(good, x, m.start),
            before=jnp.where(good, after, m.before),
            history=history,
            clock=clock,
            h=h,
            proposal=proposal,
            second=jnp.where(first, True, jnp.where(good | redo, False, m.second)),
            tries=jnp.where(converged | failed, 0, tries),
            halvings=halvings,
            attempts=attempts,
            status=status,
            steps=m.steps + good,
            rejected=m.rejected + redo,
            iterations=m.iterations + active,
        )
        return march, x

    def _history(self, before: Densities, after: Densities) -> Densities:
        """Right-hand side of the second stage, before + (1-γ)/γ (after - before), kept above zero.

        It overshoots where ions are squeezed out within a step. What leaves such a cell is then cut to 99 % of what it
        held (the limiter of Zalesak 1979, doi:10.1016/0021-9991(79)90051-2, on the transport between cells): nothing
        is lost, and what it costs in accuracy the error estimate sees. The transport is summed up from the nearer
        wall, so that the traces of ions in a depleted layer are not lost in the rounding of the whole.
        """
        widths = self.widths[:, None]
        gain, wanting = gained(widths, before, after)
        # Mostly nothing is wanting, and a fifth of an iteration would go into cutting nothing.
        return lax.cond(
            jnp.any(wanting), limited, lambda before, gain, *_: before + gain / widths, before, gain, wanting, widths
        )

    def _second(self, before: Densities, after: Densities, some: Bool[Array, ""]) -> Densities:
        """``_history`` where it is known whether ``some`` cell is wanting. Nothing is stored before the choice."""
        widths = self.widths[:, None]

        return lax.cond(
            some,
            lambda before, after: limited(before, *gained(widths, before, after), widths),
            lambda before, after: before + gained(widths, before, after)[0] / widths,
            *(before, after),
        )

    def _correction(self, m: _March, gh: PerLane, voltage: PerLane, inverse: Float[Array, "face lane"]) -> _Correction:
        """Newton's correction of c - gh f(c) = history."""
        c, occupied = self._densities(m.x)
        faces, one = self._faces(m.x, c, voltage, inverse), jnp.ones_like(gh)
        if swept.possible(m.x):
            rows = functools.partial(newton, self.charges)
            beside = Beside(c, self.widths, m.history, m.before)
            shared, cells = self._shared(one, gh)._replace(fixed=self.fixed_charge), Cells(c, self.widths, m.history)
            delta, largest, after, sums = swept.solve(rows, shared, cells, faces, moved, beside)
            filling = jnp.sum(occupied * delta[:, 1:], axis=1, keepdims=True)
            return _Correction(delta, largest, after, filling, sums[:-1], sums[-1])
        delta = self._solve(c, faces, one, gh, self._source(c, faces, m.history, gh))
        filling = jnp.sum(occupied * delta[:, 1:], axis=1, keepdims=True)
        after = c * (1 + delta[:, 1:] - filling)
        wrong = jnp.sum(misplaced(self.widths[:, None], after, m.history, m.before), axis=0)
        return _Correction(delta, jnp.max(jnp.abs(delta), axis=0), after, filling, wrong, None)

    def _source(self, c: Densities, faces: Faces, history: Densities, gh: PerLane) -> Unknowns:
        """S, what is left of Gauss's law and of c - gh f(c) = history: zero at the end of a stage."""
        near = block_tridiagonal.near(self._cells(c, history), faces)
        of_cell = functools.partial(residual, self.charges, self._shared(jnp.ones_like(gh), gh))
        return jnp.stack(jax.vmap(of_cell)(near), axis=1)

    def _solve(self, c: Densities, faces: Faces, mass: PerLane, gh: PerLane, source: Array) -> Array:
        """The linearised system, mass · h dc + gh · d(flux balance) = source, with dφ and du as unknowns."""
        rows, cells = functools.partial(linearised, self.charges), Cells(c, self.widths, source)
        return block_tridiagonal.solve_stencil(rows, self._shared(mass, gh), cells, faces)

    def _cells(self, c: Densities, history: Densities) -> Cells:
        return Cells(c, self.widths, history, self._charge(c))

    def _shared(self, mass: PerLane, gh: PerLane) -> Shared:
        return Shared(mass, gh, self.screening, self.packing)

    # ---------------------------------------------------------------------------------- the law

    def _densities(self, x: Unknowns) -> tuple[Densities, Densities]:
        """c, and the share v c of the sites that each species fills."""
        ratio = jnp.exp(x[:, 1:])
        c = ratio / (1 + self.packing * jnp.sum(ratio, axis=1, keepdims=True))
        return c, self.packing * c

    def _faces(self, x: Unknowns, c: Densities, voltage: PerLane, inverse: Float[Array, "face lane"]) -> Faces:
        """Fluxes and fields; nothing flows through the walls. ``inverse``: of the gaps, made before all iterations."""
        phi = x[:, 0]
        excess = jnp.log(1 + self.packing * jnp.sum(jnp.exp(x[:, 1:]), axis=1))  # ν
        step = phi[1:] - phi[:-1]
        inner = inverse[1:-1]
        field = -step * inner
        mobility, slope = field_mobility(self.field_scale * field)
        d = self._charges() * step[:, None] + (excess[1:] - excess[:-1])[:, None]
        ahead, back, derivative = bernoulli_pair(d)
        conductance = self.rates * (mobility * inner)[:, None]
        left = conductance * ahead * c[:-1]
        right = conductance * back * c[1:]
        drift = conductance * (derivative * c[:-1] - (1 + derivative) * c[1:])
        turn = self._charges() * drift - (left - right) * (slope / mobility * self.field_scale * inner)[:, None]
        g_left, g_right = self._walls()
        fields = jnp.concatenate([((voltage - phi[0]) * g_left)[None], field, (phi[-1] * g_right)[None]])
        return Faces(left, right, drift, turn, inverse, fields)

    def _charge(self, c: Densities) -> Float[Array, "cell lane"]:
        """Charge density in e N0."""
        return jnp.sum(self._charges() * c, axis=1) + self.fixed_charge

    def _charges(self) -> Float[Array, "species 1"]:
        return jnp.asarray(self.charges, self.widths.dtype)[:, None]

    def _walls(self) -> tuple[PerLane, PerLane]:
        """1/(distance over which the voltage drops between electrode and first centre), left and right."""
        return 1 / (self.stern + 0.5 * self.widths[0]), 1 / (self.stern + 0.5 * self.widths[-1])

    def _inverse_gaps(self) -> Float[Array, "face lane"]:
        left, right = self._walls()
        return jnp.concatenate([left[None], 1 / gaps(self.widths), right[None]])

    def _debye_time(self) -> PerLane:
        """ε/σ at density N0, in s."""
        return 1 / (self.screening * jnp.max(self.rates, axis=0))

    def _charge_scale(self) -> PerLane:
        """What a double layer takes up at one volt, Stern and diffuse part in series, in e N0 L."""
        return VOLT / (self.screening * (self.stern + 1 / jnp.sqrt(self.screening)))


def _pack(state: IonState) -> Unknowns:
    return jnp.concatenate([state.potential[:, None], jnp.moveaxis(state.log_ratio, 0, 1)], axis=1)


def _open(march: _March, duration: PerLane) -> Bool[Array, " lane"]:
    return (march.status == FINE) & (march.clock < duration)


def _next_step(proposal: PerLane, left: PerLane) -> PerLane:
    """The proposed step, or an even share of what is left of the interval where that is two steps or less."""
    return jnp.where(proposal >= 0.999999 * left, left, jnp.where(proposal >= 0.5 * left, 0.5 * left, proposal))


# -------------------------------------------------------------------------------------- derivatives


def _arrived(end: _March, voltage: PerLane) -> IonState:
    return IonState(
        end.start[:, 0],
        jnp.moveaxis(end.start[:, 1:], 1, 0),
        jnp.broadcast_to(voltage, end.h.shape),
        end.proposal,
        end.status,
        end.steps,
        end.rejected,
        end.iterations,
    )


@jax.custom_jvp
def _advanced(transport: IonTransport, state: IonState, voltage: PerLane, duration: PerLane) -> IonState:
    return _arrived(transport._steps(state, voltage, duration), voltage)


@_advanced.defjvp
def _advanced_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[IonState, IonState]:
    """Step by step through the record, linear in the tangents and made of scans, so that it can be transposed."""
    transport, state, voltage, duration = primals
    d_transport, d_state, d_voltage, d_duration = tangents
    end, record = transport._recorded(state, voltage, duration)
    lanes = end.h.shape
    voltage, d_voltage = jnp.broadcast_to(voltage, lanes), jnp.broadcast_to(d_voltage, lanes)
    starts = jnp.concatenate([_pack(state)[None], record.last[:-1]])

    def advance(dx: Unknowns, step: tuple[Array, ...]) -> tuple[Unknowns, None]:
        h, *stages = step
        taken = h > 0

        def move(dx: Unknowns) -> Unknowns:
            # A lane without a step here does harmless arithmetic: what it discards must be finite to be transposed.
            own, applied = (_only(taken, a, 1.0) for a in (transport, voltage))
            d_own, d_applied, d_start = (_only(taken, a, 0.0) for a in (d_transport, d_voltage, dx))
            x_start, x_first, x_last = (_only(taken, x, 0.0) for x in stages)
            gh, d_gh = GAMMA * h, GAMMA * h / jnp.where(taken, duration, 1.0) * d_duration
            before, d_before = jax.jvp(_densities_of, (own, x_start), (d_own, d_start))

            def stage(x: Unknowns, history: Densities, d_history: Densities) -> tuple[Unknowns, Densities, Densities]:
                given = (own, history, gh, applied), (d_own, d_history, d_gh, d_applied)
                _, change = jax.jvp(lambda *a: _source_of(x, *a), *given)
                c, _ = own._densities(x)
                faces = own._faces(x, c, applied, own._inverse_gaps())
                moved = own._solve(c, faces, jnp.ones_like(gh), gh, change)
                return moved, *jax.jvp(_densities_of, (own, x), (d_own, moved))

            _, after, d_after = stage(x_first, before, d_before)
            given = (own, before, after), (d_own, d_before, d_after)
            moved, _, _ = stage(x_last, *jax.jvp(IonTransport._history, *given))
            return jnp.where(taken, moved, dx)

        # In reverse, what a step needs is made again from its stages: nothing is kept for rows that hold no step.
        return lax.cond(jnp.any(taken), jax.checkpoint(move, prevent_cse=False), lambda dx: dx, dx), None

    dx, _ = lax.scan(advance, _pack(d_state), (record.h, starts, record.first, record.last))
    no_tangents: list[Any] = [np.zeros(lanes, jax.dtypes.float0)] * 4  # of the counters
    dx = dx * jnp.where(end.steps - state.steps > _RECORDED, jnp.nan, 1.0)
    return _arrived(end, voltage), IonState(
        dx[:, 0],
        jnp.moveaxis(dx[:, 1:], 1, 0),
        d_voltage,
        jnp.zeros_like(end.proposal),
        *no_tangents,
    )


def _densities_of(transport: IonTransport, x: Unknowns) -> Densities:
    return transport._densities(x)[0]


def _source_of(x: Unknowns, transport: IonTransport, history: Densities, gh: PerLane, voltage: PerLane) -> Unknowns:
    c = _densities_of(transport, x)
    faces = transport._faces(x, c, voltage, transport._inverse_gaps())
    return transport._source(c, faces, history, gh)


def _only(taken: Bool[Array, " lane"], values: Any, otherwise: float) -> Any:
    """The same, with ``otherwise`` in the lanes that are not taken."""
    return jax.tree.map(lambda value: jnp.where(taken, value, otherwise), values)
