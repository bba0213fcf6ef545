"""The sum of squares that a search lowers, and its parts.

    loss = Σ_k w_k² d_k² + Σ_curves w² rᵀ W r + Σ_priors ((z - z_0)/s)²

d is a goal's deviation in units of its uncertainty, r the simulated less the measured current, z a parameter's natural
coordinate (ln x of a scale). W is 1/noise² of devices that are alike; of others it is chosen from an ensemble at one
point (`covariance.py`) and then held, so that losses compare: were it to follow the parameters, those with the widest
spread would win.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcdev.calibration import covariance
from mcdev.calibration.evaluation import Evaluation, evaluate
from mcdev.calibration.goals import Goal
from mcdev.calibration.plan import Plan
from mcdev.files import structure
from mcdev.files.archive import archive, is_whole, number_of, write_numbered
from mcdev.machine.identity import Identity, Origin

_ROUNDS, _FEW_ROUNDS = 6, 2
_FAR = 1e3  # deviation that stands for a number that cannot be read


class Misfit(NamedTuple):
    """At one point of the search."""

    u: np.ndarray
    """Free coordinates."""
    evaluation: Evaluation
    residual: np.ndarray
    """Goals, then curves, then priors; weighted."""
    jacobian: np.ndarray
    """d(residual)/du; empty if not asked for."""
    jacobian_error: np.ndarray

    @property
    def loss(self) -> float:
        return float(np.sum(self.residual**2))

    @property
    def gradient(self) -> np.ndarray:
        return 2.0 * self.jacobian.T @ self.residual

    @property
    def noise(self) -> np.ndarray:
        """Standard error of the gradient."""
        return 2.0 * np.sqrt(np.sum((self.jacobian_error * self.residual[:, None]) ** 2, axis=0))

    @property
    def loss_error(self) -> float:
        """Standard error of the loss from the ensemble's noise in the goals' values."""
        r = self.residual[: self.evaluation.value.size]
        return float(2.0 * np.sqrt(max(r @ self.noise_covariance @ r, 0.0)))

    noise_covariance: np.ndarray = np.empty((0, 0))
    """Of the goals' weighted deviations over the ensemble [goal, goal]."""
    roots: tuple[np.ndarray | None, ...] = ()
    """Of each curve, K of W = (K Kᵀ)⁻¹ [number, number]; None where W is 1/noise²."""
    deviance: float = 0.0
    """The loss, and ln |K|² over its share of the instrument: with it, fits compare whose W differ."""

    def rows(self, curve: int) -> slice:
        """Which entries of the residual are a curve's."""
        sizes = [k.shape[0] if k is not None else self.recorded[i] for i, k in enumerate(self.roots)]
        begin = self.evaluation.value.size + sum(sizes[:curve])
        return slice(begin, begin + sizes[curve])

    recorded: tuple[int, ...] = ()
    """Recorded samples of each curve."""
    goals: tuple[Goal, ...] = ()
    """The fitted ones, with the uncertainties that the deviations were divided by."""

    @property
    def together(self) -> np.ndarray:
        """Correlation of the goals' deviations [goal, goal]: statistics of the same few devices err together. Of
        different numbers of devices the fewer are taken to be among the more. Where they scatter by more than when
        their uncertainties were chosen, it is their own correlation still: no entry may exceed one."""
        found = np.eye(len(self.goals))
        few = [i for i, goal in enumerate(self.goals) if goal.of_devices is not None]
        if few:
            goals = [self.goals[i] for i in few]
            devices = np.array([goal.of_devices for goal in goals], float)
            values = [float(self.evaluation.value[i]) for i in few]
            slopes = np.array([goal.deviation_slope(value) for goal, value in zip(goals, values, strict=True)])
            shared = self.evaluation.scatter[np.ix_(few, few)] / np.maximum.outer(devices, devices)
            shared = np.nan_to_num(np.outer(slopes, slopes) * shared)
            size = np.sqrt(np.maximum(np.diag(shared), 1.0))
            found[np.ix_(few, few)] = shared / np.outer(size, size)
            np.fill_diagonal(found, 1.0)
        return found


class Evaluations:
    """Every evaluation of a calibration, kept on disk: started again, it repeats them without computing.

    A file is NUMBER.CHECKSUM.npz; inside, beside the numbers, lie what they are of and the identity of who made them.
    What does not agree in all of these is computed again. ``identities``: of those whose evaluations count, the last
    this process's own.
    """

    def __init__(self, folder: Path | None = None, identities: Sequence[Identity] = ()):
        self.folder = folder
        self.number = 0
        self.repeated = 0
        self._identities = {identity.model_dump_json(): identity for identity in identities}
        self._origins: dict[Origin, None] = {}
        self._damaged: list[Path] = []
        self._foreign: list[Path] = []
        self._files: dict[int, list[Path]] = {}
        for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []:
            if (number := number_of(path)) is not None:
                self._files.setdefault(number, []).append(path)

    @property
    def accepted(self) -> list[Origin]:
        """Whose evaluations count."""
        return [identity.origin for identity in self._identities.values()]

    @property
    def origins(self) -> list[Origin]:
        """Who computed what was repeated, and this process."""
        return list(dict.fromkeys([*self._origins, Origin.here()]))

    @property
    def notes(self) -> list[str]:
        """What was found that was not used."""
        found = []
        for files, why in ((self._damaged, "damaged"), (self._foreign, "of another calibration, machine or code")):
            if files:
                found.append(f"{len(files)} of the evaluations in {self.folder} {why} and done again")
        return found

    def look_up(self, name: str) -> Evaluation | None:
        self.number += 1
        for path in self._files.get(self.number, []):
            try:
                content = path.read_bytes()
            except OSError:  # a folder, or not to be read
                content = b""
            if not is_whole(path, content):
                self._damaged.append(path)
                continue
            try:
                found, whose = _read(content, name)
            except structure.Unreadable:
                self._damaged.append(path)
                continue
            if whose not in self._identities:
                self._foreign.append(path)
            elif found is not None:
                self.repeated += 1
                self._origins[self._identities[whose].origin] = None
                return found
        return None

    def write(self, name: str, e: Evaluation) -> None:
        if self.folder is None:
            return
        arrays: dict[str, Any] = {
            "name": np.array(name),
            "identity": np.array(list(self._identities)[-1].encode()),
            "value": e.value,
            "error": e.error,
            "covariance": e.covariance,
            "scatter": e.scatter,
            "jacobian": e.jacobian,
            "jacobian_error": e.jacobian_error,
            "traces": np.array(len(e.currents)),
            "left_out": np.array(e.left_out),
            "methods": np.array(e.methods, dtype="U"),
        }
        arrays |= {f"current_{i}": c for i, c in enumerate(e.currents)}
        arrays |= {f"slope_{i}": c for i, c in enumerate(e.current_jacobians)}
        arrays |= {f"courses_{i}": c for i, c in enumerate(e.courses)}
        path = write_numbered(self.folder, self.number, arrays)
        for old in self._files.get(self.number, []):
            if old != path:
                old.unlink(missing_ok=True)
        self._files[self.number] = [path]


def _read(content: bytes, name: str) -> tuple[Evaluation | None, str]:
    """What an archive holds of the evaluation of this name, None where it is of another; and whose it is. Raises
    ``Unreadable`` for an archive that :meth:`Evaluations.write` has not written."""
    try:
        with archive(content) as data:
            whose = bytes(data["identity"].item()).decode()
            if str(data["name"]) != name:
                return None, whose
            count = int(data["traces"])
            evaluation = Evaluation(
                data["value"],
                data["error"],
                data["jacobian"],
                data["jacobian_error"],
                tuple(data[f"current_{i}"] for i in range(count)),
                tuple(data[f"slope_{i}"] for i in range(count) if f"slope_{i}" in data),
                float(data["left_out"]),
                tuple(str(m) for m in data["methods"]),
                data["covariance"],
                tuple(data[f"courses_{i}"] for i in range(count) if f"courses_{i}" in data),
                data["scatter"],
            )
    except (KeyError, ValueError, TypeError, OverflowError) as error:  # no such array, or of another type or size
        raise structure.Unreadable(f"is no evaluation: {error}") from None
    return evaluation, whose


class Objective:
    """The misfit of a plan as a function of the free coordinates, ensemble size and seed."""

    def __init__(self, plan: Plan, book: Evaluations | None = None):
        self.plan = plan
        self.book = book or Evaluations()
        self.goals: tuple[Goal, ...] = tuple(g for g in plan.goals if g.weight > 0)
        self.realisations = 0
        """Ensemble evaluations so far: realisations asked for, a derivative counted as one."""
        self.roots: tuple[np.ndarray | None, ...] = (None,) * len(plan.traces)
        """Of the curves' weights, as ``weigh`` left them."""
        self.of_few = any(g.of_devices is not None for g in self.goals)
        """Whether there are statistics of a few devices."""
        self._weighed = not self.of_few
        self._last: tuple[str, Evaluation] | None = None

    def weigh(self, u: np.ndarray, devices: int, seed: int) -> None:
        """Choose the weights of curves, and of statistics of a few devices, anew, from an ensemble at this point."""
        self._weighed = True
        if not (self.plan.traces or self.of_few):
            return
        e = self._evaluated(np.asarray(u, float), devices, seed, True)
        self.roots = tuple(covariance.root(t, c) for t, c in zip(self.plan.traces, e.courses, strict=True))
        self.goals = among(tuple(g for g in self.plan.goals if g.weight > 0), e)

    @property
    def rounds(self) -> int:
        """How often weights are chosen anew at the end, at most. Those of statistics hardly depend on the parameters,
        and have errors of their own, by which further rounds would only go to and fro."""
        return _ROUNDS if any(root is not None for root in self.roots) else _FEW_ROUNDS if self.of_few else 0

    def __call__(self, u: np.ndarray, devices: int, seed: int, slopes: bool = True) -> Misfit:
        if not self._weighed:
            self.weigh(u, devices, seed)
        u = np.asarray(u, float)
        return self._misfit(u, self._evaluated(u, devices, seed, slopes), slopes)

    def _evaluated(self, u: np.ndarray, devices: int, seed: int, slopes: bool) -> Evaluation:
        name = hashlib.sha256(u.tobytes() + json.dumps([devices, seed, slopes]).encode()).hexdigest()
        if self._last is not None and self._last[0] == name:  # the same point under other weights
            return self._last[1]
        evaluation = self.book.look_up(name)
        if evaluation is None:
            evaluation = evaluate(self.plan, self.plan.values(u), devices, seed, slopes, self.goals)
            self.book.write(name, evaluation)
        self.realisations += devices
        if slopes:
            self._last = name, evaluation
        return evaluation

    def _misfit(self, u: np.ndarray, e: Evaluation, slopes: bool) -> Misfit:
        plan = self.plan
        count = len(plan.parameters)
        x = plan.values(u)
        dx = np.array([p.coordinate.slope(float(v)) for p, v in zip(plan.parameters, u, strict=True)])
        values = [float(v) for v in e.value]
        deviations = [g.deviation(v) for g, v in zip(self.goals, values, strict=True)]
        residual = [g.weight * float(np.clip(d, -_FAR, _FAR)) for g, d in zip(self.goals, deviations, strict=True)]
        scale = [
            g.weight * g.deviation_slope(v) if np.isfinite(d) else 0.0
            for g, v, d in zip(self.goals, values, deviations, strict=True)
        ]
        empty, volume = np.empty((0, count)), 0.0
        volume += sum(2.0 * float(np.log(1.0 / g.deviation_slope(g.value))) for g in self.goals if g.of_devices)
        parts, rows, errors = [np.array(residual)], [], []
        if slopes:
            rows.append(np.array(scale)[:, None] * e.jacobian * dx)
            errors.append(np.abs(np.array(scale)[:, None] * e.jacobian_error * dx))
        for i, (trace, current) in enumerate(zip(plan.traces, e.currents, strict=True)):
            seen, root = np.isfinite(trace.current), self.roots[i]
            away, telling = trace.away(current)
            slope = e.current_jacobians[i] * dx * telling[:, None] if slopes else empty
            if root is None:
                noise = trace.noise[seen]
                away, slope = away[seen] / noise, slope[seen] / noise[:, None] if slopes else slope
            else:
                away = covariance.whitened(root, covariance.reduced(trace, away))
                slope = covariance.whitened(root, covariance.reduced(trace, slope.T).T) if slopes else slope
                volume += 2.0 * float(np.sum(np.log(np.diag(root) / covariance.noise(trace))))
            parts.append(trace.weight * away)
            if slopes:
                rows.append(trace.weight * slope)
                errors.append(np.zeros_like(rows[-1]))
        for j, p in enumerate(plan.parameters):
            if p.prior_centre is None:
                continue
            parts.append(np.array([(p.coordinate.natural(x[j]) - p.prior_centre) / p.prior_sd]))
            if slopes:
                row = np.zeros((1, count))
                row[0, j] = p.coordinate.natural_slope(x[j]) * dx[j] / p.prior_sd
                rows.append(row)
                errors.append(np.zeros_like(row))
        joined = np.concatenate(parts)
        joined = np.where(np.isfinite(joined), joined, _FAR)
        return Misfit(
            u,
            e,
            joined,
            np.nan_to_num(np.concatenate(rows)) if rows else empty,
            np.nan_to_num(np.concatenate(errors)) if errors else empty,
            np.outer(scale, scale) * e.covariance,
            self.roots,
            float(np.sum(joined**2)) + volume,
            tuple(int(np.isfinite(t.current).sum()) for t in plan.traces),
            self.goals,
        )


def among(goals: Sequence[Goal], e: Evaluation) -> tuple[Goal, ...]:
    """The goals with what so few devices scatter by, as the ensemble of an evaluation of these very goals has it."""
    own = np.sqrt(np.diag(e.scatter)) if e.scatter.size else np.zeros(len(goals))
    found = []
    for goal, value, scatter in zip(goals, e.value, own, strict=True):
        known = goal.among(float(value), float(scatter))
        # a statistic that cannot be read is infinitely far off, whatever it would scatter by
        found.append(known if known.sigma > 0 else known._replace(sigma=abs(goal.value) or 1.0))
    return tuple(found)
