"""Ions between blocking electrodes: mcdev's batch beside scipy's BDF, one device at a time, on one core, in one run.

    python benchmarks/ion_transport.py            tables, and benchmarks/results/ion_transport.json

The problem: 100 nm of a mixed conductor with 2e27 m^-3 anions and 8.3 % cations (Shin et al. 2022), at rest, then
3.5 V for 20 s; devices differ by 3 % in thickness and conductivity. Both solve the same semi-discretisation of 60
cells. Errors are those of the wall field, at 40 times, against a fine solution. Times are processor time.
"""

from __future__ import annotations

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import solve_banded
from step_cost import pin, record

from mcdev.integrators.drift_diffusion import graded_mesh
from mcdev.integrators.ion_transport import GAMMA, TOLERANCE, IonTransport

ELEMENTARY, BOLTZMANN, VACUUM = 1.602176634e-19, 1.380649e-23, 8.8541878128e-12
THERMAL = BOLTZMANN * 300 / ELEMENTARY
VOLTAGE, DURATION = 3.5 / THERMAL, 20.0
TIMES = np.geomspace(0.02, DURATION, 40)
OPTIONS = {"xla_cpu_prefer_vector_width": 512}


def batch(
    lanes: int, packing: float, cells: int = 60, spread: float = 0.03, tolerance: float = TOLERANCE
) -> tuple[IonTransport, Any]:
    """Devices and their contents; the first one is the nominal device."""
    random = np.random.default_rng(0)
    factors = np.exp(spread * random.standard_normal((2, lanes)))
    factors[:, 0] = 1
    one, salt, density, permittivity = np.ones(lanes), 0.083, 2e27, 30 * VACUUM
    thickness, conductivity = 100e-9 * factors[0], 1.9e-8 * factors[1]
    diffusivity = conductivity * THERMAL / (ELEMENTARY * density * (1 + salt))
    devices = IonTransport(
        widths=jnp.asarray(graded_mesh(cells, 2e-4 * 60 / cells)[:, None] * one),
        charges=(-1, 1),
        screening=jnp.asarray(ELEMENTARY * density * thickness**2 / (permittivity * THERMAL)),
        stern=jnp.asarray(permittivity / (0.25 * thickness)),
        rates=jnp.asarray(diffusivity / thickness**2 * np.ones((2, 1))),
        packing=jnp.asarray(packing * one),
        fixed_charge=jnp.asarray((1 - salt) * one),
        field_scale=jnp.asarray(THERMAL / (thickness * 2.6e7)),
        tolerance=jnp.asarray(tolerance * one),
        fixed_step=jnp.asarray(0 * one),
    )
    return devices, jnp.asarray(np.stack([one, salt * one]))


def compiled() -> Callable[..., Any]:
    def run(devices: IonTransport, contents: Any, duration: Any) -> Any:
        voltage = jnp.full(devices.screening.shape, VOLTAGE)
        state = devices.advance(devices.rest(contents), voltage, jnp.broadcast_to(duration, voltage.shape))
        return state, devices.wall_fields(state, voltage)[0]

    return jax.jit(run, compiler_options=OPTIONS)


RUN = compiled()


class Alone:
    """One device for scipy: the same cells, fluxes and mobility. Unknowns: c for point ions; for ions of a size
    ln(c_-/c_0) and ln(c_+/c_-), since c_0 falls below the rounding of c in the saturated layer and BDF with c fails.

    The potential is eliminated by a tridiagonal solve; the Jacobian is analytic. Since the potential of every cell
    depends on all ions it is a full matrix, of 120 unknowns: dense algebra of that size is what BDF does best.
    """

    def __init__(self, devices: IonTransport, contents: Any, lane: int):
        self.widths = np.asarray(devices.widths)
        self.z = np.asarray(devices.charges, float)[:, None]
        take = [devices.screening, devices.stern, devices.packing, devices.fixed_charge, devices.field_scale]
        self.screening, self.stern, self.packing, self.fixed, self.scale = (float(a[lane]) for a in take)
        self.rates = np.asarray(devices.rates)[:, lane, None]
        self.contents = np.asarray(contents)[:, lane, None] * np.ones(self.widths.size)
        wall = self.stern + 0.5 * self.widths[0]  # the mesh is symmetric
        self.inverse = 1 / np.pad(0.5 * (self.widths[1:] + self.widths[:-1]), 1, constant_values=wall)
        cells = self.widths.size
        self.laplace = np.zeros((3, cells))
        self.laplace[1] = self.inverse[:-1] + self.inverse[1:]
        self.laplace[0, 1:] = self.laplace[2, :-1] = -self.inverse[1:-1]
        per_charge = solve_banded((1, 1), self.laplace, np.diag(self.screening * self.widths))  # dφ/dq
        self.by_voltage = solve_banded((1, 1), self.laplace, VOLTAGE * self.inverse[0] * np.eye(cells)[0])
        self.per_charge = per_charge
        self.step_per_charge = per_charge[1:] - per_charge[:-1]

    def potential(self, c: np.ndarray) -> np.ndarray:
        return self.by_voltage + self.per_charge @ ((self.z * c).sum(0) + self.fixed)

    def _densities(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c and c_0."""
        if not self.packing:
            return flat.reshape(2, -1), np.ones(self.widths.size)
        ratio = np.exp(np.minimum(np.cumsum(flat.reshape(2, -1), axis=0), 600))
        vacant = 1 / (1 + self.packing * ratio.sum(0))
        return ratio * vacant, vacant

    def _faces(self, c: np.ndarray, vacant: np.ndarray) -> tuple[np.ndarray, ...]:
        step = np.diff(self.potential(c))
        y = -self.scale * step * self.inverse[1:-1]
        bent = np.tanh(y / 3)
        safe = np.where(np.abs(bent) < 1e-4, 1, 3 * bent)
        mobility = np.where(np.abs(bent) < 1e-4, 1, np.sinh(safe) / safe)
        d = self.z * step - np.diff(np.log(vacant))
        decay = np.exp(-np.maximum(np.abs(d), 1e-5))
        up = np.maximum(np.abs(d), 1e-5) / (1 - decay)
        down = up * decay
        ahead, back = np.where(d > 0, down, up), np.where(d > 0, up, down)
        slope = np.where(d > 0, 1.0, -1.0) * down * (1 - up) / np.maximum(np.abs(d), 1e-5)
        slope = np.where(d > 0, slope, -1 + slope)
        conductance = self.rates * mobility * self.inverse[1:-1]
        growth = np.where(np.abs(bent) < 1e-4, y / 3, (np.cosh(safe) - mobility) / safe) * (1 - bent**2) / mobility
        return conductance, ahead, back, slope, growth

    def rate(self, t: float, flat: np.ndarray) -> np.ndarray:
        c, vacant = self._densities(flat)
        conductance, ahead, back, *_ = self._faces(c, vacant)
        flux = np.pad(conductance * (ahead * c[:, :-1] - back * c[:, 1:]), ((0, 0), (1, 1)))
        gain = (flux[:, :-1] - flux[:, 1:]) / self.widths
        if self.packing:
            relative = gain / c
            gain = np.stack([relative[0] + self.packing * gain.sum(0) / vacant, relative[1] - relative[0]])
        return gain.ravel()

    def jacobian(self, t: float, flat: np.ndarray) -> np.ndarray:
        c, vacant = self._densities(flat)
        n = self.widths.size
        conductance, ahead, back, slope, growth = self._faces(c, vacant)
        drift = conductance * (slope * c[:, :-1] - (1 + slope) * c[:, 1:])
        flux = conductance * (ahead * c[:, :-1] - back * c[:, 1:])
        turn = self.z * drift - flux * growth * self.scale * self.inverse[1:-1]
        face, cell = np.arange(n - 1), np.arange(n)
        filled = self.packing * c
        inner = np.zeros((2, 2, n))  # dc_s/d(unknown t)
        for s in range(2):
            for t_ in range(2):
                inner[s, t_] = c[s] * ((s == t_) - filled[t_]) if self.packing else float(s == t_)
        charge = self.z[0] * inner[0] + self.z[1] * inner[1]
        by = np.zeros((2, n - 1, 2, n))
        for s in range(2):
            for t_ in range(2):
                by[s, :, t_, :] = turn[s][:, None] * (self.step_per_charge * charge[t_])
                by[s, face, t_, face] += conductance[s] * ahead[s] * inner[s, t_, :-1] - drift[s] * filled[t_, :-1]
                by[s, face, t_, face + 1] -= conductance[s] * back[s] * inner[s, t_, 1:] - drift[s] * filled[t_, 1:]
        whole = np.zeros((2, n, 2, n))
        whole[:, :-1] -= by
        whole[:, 1:] += by
        whole /= self.widths[:, None, None]
        if self.packing:
            gain = -np.diff(np.pad(flux, ((0, 0), (1, 1))), axis=1) / self.widths
            total = (self.packing / vacant)[:, None, None] * whole.sum(0)
            whole /= c[:, :, None, None]
            for t_ in range(2):
                for s in range(2):
                    whole[s, cell, t_, cell] -= gain[s] / c[s] * ((s == t_) - filled[t_])
                total[cell, t_, cell] += self.packing * gain.sum(0) / vacant * filled[t_]
            whole = np.stack([whole[0] + total, whole[1] - whole[0]])
            whole[:, :, 0] += whole[:, :, 1]  # u_- raises both
        return whole.reshape(2 * n, 2 * n)

    def run(self, rtol: float) -> tuple[np.ndarray, Any]:
        """Wall field at TIMES."""
        start, floor = self.contents, 1e-3 * rtol
        if self.packing:
            start, floor = np.log(start / (1 - self.packing * start.sum(0))), rtol
            start = np.stack([start[0], start[1] - start[0]])
        with np.errstate(all="ignore"):  # BDF tries steps that are too long
            out = solve_ivp(
                self.rate, (0, DURATION), start.ravel(), "BDF", TIMES, jac=self.jacobian, rtol=rtol, atol=floor
            )
        if not out.success:
            return np.full(TIMES.size, np.nan), out
        first = np.array([self.potential(self._densities(y)[0])[0] for y in out.y.T])
        return (VOLTAGE - first) * self.inverse[0], out


def wall_fields(devices: IonTransport, contents: Any, times: np.ndarray = TIMES) -> np.ndarray:
    """[time, lane], each time reached in steps of its own from rest, so that no step ends early for the sake of it."""
    return np.array([np.asarray(RUN(devices, contents, jnp.asarray(t))[1]) for t in times])


def timed(call: Callable[[], Any]) -> float:
    wait: Callable[[Any], Any] = jax.block_until_ready
    start = time.process_time()
    wait(call())
    return time.process_time() - start


def group(devices: IonTransport, contents: Any, lanes: slice) -> tuple[IonTransport, Any]:
    """Some of the lanes."""
    some = [
        devices.screening, devices.stern, devices.rates, devices.packing, devices.fixed_charge, devices.field_scale,
        devices.tolerance, devices.fixed_step,
    ]  # fmt: skip
    return (
        eqx.tree_at(
            lambda d: [
                d.screening,
                d.stern,
                d.rates,
                d.packing,
                d.fixed_charge,
                d.field_scale,
                d.tolerance,
                d.fixed_step,
            ],
            devices,
            [a[..., lanes] for a in some],
        ),
        contents[:, lanes],
    )


def whole(devices: int, lanes: int, packing: float) -> Callable[[], Any]:
    """All devices, in groups of ``lanes``."""
    everything = batch(devices, packing)
    groups = [group(*everything, slice(i, i + lanes)) for i in range(0, devices, lanes)]
    return lambda: [RUN(*one, jnp.asarray(DURATION)) for one in groups]


def all_alone(devices: list[Alone], rtol: float) -> list[np.ndarray]:
    return [one.run(rtol)[0] for one in devices]


def compare(name: str, packing: float, devices: int, lanes: int, rtols: list[float], repetitions: int) -> Any:
    ours = whole(devices, lanes, packing)
    few = group(*batch(devices, packing), slice(0, 8))
    fine = eqx.tree_at(lambda d: d.tolerance, few[0], jnp.full(8, 1e-5))
    exact = wall_fields(fine, few[1])
    error = float(np.max(np.abs(wall_fields(*few) / exact - 1)))
    alone = [Alone(*few, lane) for lane in range(3)]
    figures: dict[str, Any] = {"devices": devices, "lanes": lanes, "error": error, "scipy": {}}
    ours()
    mine: list[float] = []
    theirs: dict[float, list[float]] = {rtol: [] for rtol in rtols}
    for _ in range(repetitions):  # interleaved
        mine.append(devices / timed(ours))
        for rtol in rtols:
            theirs[rtol].append(len(alone) / timed(functools.partial(all_alone, alone, rtol)))
    states = [state for state, _ in ours()]
    steps = np.concatenate([np.asarray(s.steps) for s in states])
    iterations = np.concatenate([np.asarray(s.iterations) for s in states])
    failed = int(sum(int(np.sum(np.asarray(s.status) != 0)) for s in states))
    speed = statistics.median(mine)
    figures |= {"devices_per_second": mine, "steps": float(steps.mean()), "iterations": float(iterations.mean())}
    figures |= {"failed": failed, "us_per_newton": 1e6 / speed / float(iterations.mean())}
    print(f"\n{name}: {devices} devices in groups of {lanes}, {failed} failed")
    print(f"{'':22}{'devices/s':>11}{'error':>10}{'steps':>8}{'ratio':>8}")
    print(f"{'mcdev':22}{speed:11.1f}{error:10.1e}{steps.mean():8.0f}")
    for rtol in rtols:
        fields, out = alone[0].run(rtol)
        off = float(np.max(np.abs(fields / exact[:, 0] - 1)))
        pace = statistics.median(theirs[rtol])
        if not np.isfinite(off):  # the speed of a run that did not arrive says nothing
            figures["scipy"][str(rtol)] = "failed"
            print(f"{f'scipy BDF, rtol {rtol:g}':22}     failed")
            continue
        figures["scipy"][str(rtol)] = {"devices_per_second": theirs[rtol], "error": off, "jacobians": int(out.njev)}
        print(f"{f'scipy BDF, rtol {rtol:g}':22}{pace:11.2f}{off:10.1e}{out.nfev:8d}{speed / pace:8.1f}")
    print(f"{1e6 / speed / iterations.mean():.1f} µs a device and Newton iteration, {iterations.mean():.0f} of them")
    return figures


def costs(repetitions: int) -> dict[str, Any]:
    """Devices per second against lanes, cells and tolerance (that is, steps)."""
    print("\nsteric turn-on, devices per second")
    found: dict[str, Any] = {}
    cases: list[tuple[str, Any]] = [(f"lanes {n}", {"lanes": n}) for n in (1, 8, 32, 64, 128, 256)]
    cases += [(f"cells {n}", {"lanes": 64, "cells": n}) for n in (30, 60, 120, 240)]
    cases += [(f"tolerance {t:g}", {"lanes": 64, "tolerance": t}) for t in (TOLERANCE, TOLERANCE / 10, TOLERANCE / 100)]
    for name, case in cases:
        devices, contents = batch(packing=2 / 2.4, **case)
        state, _ = RUN(devices, contents, jnp.asarray(DURATION))
        again = functools.partial(RUN, devices, contents, jnp.asarray(DURATION))
        taken = statistics.median(timed(again) for _ in range(repetitions))
        lanes, iterations = case["lanes"], float(np.mean(state.iterations))
        found[name] = {
            "devices_per_second": lanes / taken,
            "steps": float(np.mean(state.steps)),
            "iterations": iterations,
        }
        print(
            f"{name:18}{lanes / taken:9.1f}   {np.mean(state.steps):6.0f} steps"
            f"{1e6 * taken / lanes / iterations:8.1f} µs/Newton"
        )
    return found


def shares(packing: float, repetitions: int, lanes: int = 64, turns: int = 200) -> dict[str, float]:
    """Of one Newton iteration's time: the fluxes and what is left of the equations (assembly), making and eliminating
    the blocks (solve), and everything else: the change taken, stages, error, step length, next guess (control).

    From loops over ever more of the iteration, in the middle of a turn-on; each turn begins where the last one ended,
    so that nothing can be left out."""
    devices, contents = batch(lanes, packing)
    voltage, duration = jnp.full(lanes, VOLTAGE), jnp.asarray(DURATION)
    state, _ = RUN(devices, contents, jnp.asarray(0.05 * DURATION))
    begin, inverse = devices._beginning(state, voltage, duration), devices._inverse_gaps()

    def assembly(m: Any) -> Any:
        c, occupied = devices._densities(m.x)
        faces = devices._faces(m.x, c, voltage, inverse)
        source = devices._source(c, faces, m.history, GAMMA * m.h)
        used = sum(jnp.sum(a, axis=tuple(range(a.ndim - 1))) for a in (*faces, source, occupied))
        return m._replace(x=m.x + 1e-300 * used)

    def correction(m: Any) -> Any:
        found = devices._correction(m, GAMMA * m.h, voltage, inverse)
        return m._replace(x=m.x + 1e-300 * found.delta, before=m.before + 1e-300 * found.after)

    def everything(m: Any) -> Any:
        return devices._iterate(m, voltage, duration, inverse)[0]

    parts = {"assembly": assembly, "solve": correction, "control": everything}
    loops = {
        name: jax.jit(
            lambda m, part=part: jax.lax.fori_loop(0, turns, lambda _, m: part(m), m), compiler_options=OPTIONS
        )
        for name, part in parts.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in loops}
    for round_ in range(repetitions + 1):
        for name, loop in loops.items():
            seconds = timed(lambda loop=loop: loop(begin))
            if round_:
                taken[name].append(seconds / turns / lanes)
    upto = [statistics.median(times) for times in taken.values()]
    each = dict(zip(parts, np.diff([0.0, *upto]), strict=True))
    print(
        f"of {1e6 * upto[-1]:.1f} µs a device and iteration: "
        + ", ".join(f"{name} {100 * t / upto[-1]:.0f} %" for name, t in each.items())
    )
    return {name: float(t / upto[-1]) for name, t in each.items()} | {"us": 1e6 * upto[-1]}


def main(devices: int, repetitions: int) -> None:
    pin(1)
    with jax.enable_x64(True):
        figures = {
            "steric": compare("steric", 2 / 2.4, devices, 64, [1e-2, 1e-3, 3e-4], repetitions),
            "dilute": compare("dilute", 0.0, devices, 64, [1e-2, 1e-3, 1e-4], repetitions),
            "costs": costs(repetitions),
            "shares": {"steric": shares(2 / 2.4, repetitions), "dilute": shares(0.0, repetitions)},
        }
    record("ion_transport", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Level 2 beside scipy.")
    parser.add_argument("--devices", type=int, default=1024)
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args()
    main(given.devices, given.repetitions)
