"""What a reader of a calibration must know, in sentences."""

from __future__ import annotations

import numpy as np

from mcdev.calibration.goals import Goal
from mcdev.calibration.next_experiments import Designed
from mcdev.calibration.outcome import Outcome
from mcdev.calibration.plan import Plan
from mcdev.calibration.read_off import words
from mcdev.schema import Unit

_TELLS, _LARGE = 6.0, 0.5  # discrimination from which odds are 20 to 1 in the mean; spread that is told as a factor
_CONFLICT = 0.01  # share of the model's own data below which others are said to conflict with it


def conclusions(outcome: Outcome) -> list[str]:
    """What a reader must know, in sentences."""
    plan, k = outcome.plan, outcome.knowledge
    said = list(plan.job.notes) + list(plan.warnings)
    if outcome.posterior is not None:
        ends = np.quantile(outcome.posterior.values, [0.025, 0.975], axis=0).T
        for p, (low, high), count in zip(plan.parameters, ends, outcome.posterior.effective, strict=True):
            said.append(
                f"posterior of {p.label}: {low / p.mark.scale:.4g} … {high / p.mark.scale:.4g} {p.mark.unit} (95 %, "
                f"{count:.0f} effective draws)"
            )
    for goal, value, error in zip(plan.goals, outcome.final.value, outcome.final.error, strict=True):
        if not np.isfinite(value):
            said.append(f"{goal.label}: could not be read at the fitted parameters")
        elif goal.weight > 0 and abs(away := _standardised(goal, float(value), float(error))) > 3:
            said.append(
                f"{goal.label} is not met: {_number(goal.mark, value)} against {_number(goal.mark, goal.value)}, "
                f"{away:+.1f} standard deviations; the search found no parameters within the bounds "
                "that meet it together with the others"
            )
    said += [*_meant(outcome), *_scattered(outcome)]
    for p, x in zip(plan.parameters, plan.values(outcome.best.u), strict=True):
        c = p.coordinate
        span = None if c.low is None or c.high is None else (c.natural(c.high) - c.natural(max(c.low, 1e-300)))
        for name, bound in (("lower", c.low), ("upper", c.high)):
            if bound is not None and span and c.low and abs(c.natural(float(x)) - c.natural(bound)) < 0.01 * span:
                said.append(f"{p.label} ended at its {name} bound, {bound / p.mark.scale:.4g} {p.mark.unit}".rstrip())
    said += [
        f"the interval of {p.label} ends at its {name} bound, {bound / p.mark.scale:.4g} {p.mark.unit}".rstrip()
        + ": the data do not show how far it extends beyond"
        for p, low, high in zip(plan.parameters, k.low, k.high, strict=True)
        for name, end, bound in (("lower", low, p.coordinate.low), ("upper", high, p.coordinate.high))
        if bound is not None and abs(end - bound) <= 1e-6 * abs(bound)
    ]
    if k.freedom > 0 and k.inflation > 1.0:
        conflict = k.chance < _CONFLICT
        what = "the numbers conflict with the model or with each other within their uncertainties; " if conflict else ""
        said.append(
            f"χ² = {k.chi_square:.3g}; data of the model itself have {k.expected:.3g}, and at least as much as here in "
            f"{100 * k.chance:.2g} % of cases: {what}intervals are widened {np.sqrt(k.inflation):.2f} times"
        )
    said += words(outcome.correlated, _CONFLICT)
    if k.freedom == 0:
        said.append("there are as many numbers as parameters: that all numbers are met does not confirm the model")
    said += list(k.words)
    undetermined = [p.label for p, fine in zip(plan.parameters, k.determined, strict=True) if not fine]
    if undetermined:
        said.append("one standard deviation is more than a factor of two for: " + ", ".join(undetermined))
    if outcome.final.left_out > 0:
        said.append(f"{100 * outcome.final.left_out:.2g} % of the realisations broke down and are left out")
    if outcome.gains:
        best = outcome.gains[0]
        ratio = best.smallest_after / best.smallest_before if best.smallest_before > 0 else np.inf
        said.append(
            f"of the candidates, measure next {best.label}: it raises the smallest singular value "
            f"{ratio:.3g} times, to {best.smallest_after:.3g}"
        )
    return said + next_ones(outcome.plan, outcome.designed)


def next_ones(plan: Plan, found: Designed | None) -> list[str]:
    """The designed experiments, and what they are expected to do; nothing where there are none."""
    if found is None:
        return []
    said = [
        f"experiment {i + 1} of the design: {space.experiment}"
        + (f" on {space.device}" if len({device for _, device in plan.experiments}) > 1 else "")
        + (f", {settings}" if (settings := space.said(one.place)) else "")
        + f" ({', '.join(goal.read.label for goal in space.goals)})"
        for i, (space, one) in enumerate(found.chosen)
    ]
    if found.model is not None:
        verdict = "this distinguishes the models" if found.discrimination > _TELLS else "this may not distinguish them"
        return [
            *said,
            f"the design is expected to distinguish {found.model} from the configured model by "
            f"{found.discrimination:.3g} (twice the mean ln of the odds); {verdict}",
        ]
    for p, before, after in zip(plan.parameters, found.before, found.after, strict=True):
        if p.label in found.shrunk:
            said.append(
                f"{p.label}: one standard deviation is {_spread(before)}; with the design {_spread(after)} is expected"
            )
    return said


def _spread(sd: float) -> str:
    """Of a natural coordinate."""
    return f"{100 * sd:.3g} %" if sd < _LARGE else f"a factor of {np.exp(sd):.3g}"


def _standardised(goal: Goal, value: float, error: float) -> float:
    """The deviation in standard deviations of the difference: of the reported number, and of the ensemble's."""
    return goal.deviation(value) / float(np.hypot(1.0, goal.deviation_slope(value) * error))


def _meant(outcome: Outcome) -> list[str]:
    """What each curve of devices that move by themselves was taken for."""
    said = []
    for trace, root in zip(outcome.plan.traces, outcome.best.roots, strict=True):
        if root is not None:
            taken = "the trace of one device" if trace.mean_of == 1 else f"the mean of {trace.mean_of} devices"
            said.append(
                f"{trace.label} is taken as {taken} (mean_of = {trace.mean_of}): errors include the noise of the "
                "instrument, the noise of the devices, and the error of the ensemble"
            )
    return said


def _scattered(outcome: Outcome) -> list[str]:
    """Fitted numbers whose uncertainty is smaller than what one device differs from the next by."""
    few = []
    for goal, one in zip(outcome.plan.goals, of_one_device(outcome), strict=True):
        if (
            goal.weight > 0
            and goal.of_devices is None
            and goal.read.statistic in ("mean", "mean_response")
            and one > goal.sigma
        ):
            few.append(f"{goal.label} (of {int(np.ceil((one / goal.sigma) ** 2))})")
    if not few:
        return []
    return [
        "an uncertainty must include everything by which the number may differ from the mean of all devices; these are "
        "smaller than the scatter from device to device, as if the number were a mean of as many devices as stand in "
        f"brackets: {', '.join(few)}"
    ]


def of_one_device(outcome: Outcome) -> np.ndarray:
    """Standard deviation of each number from device to device, as the ensemble has it; zero where all are alike."""
    plan, e = outcome.plan, outcome.final
    counts = [
        plan.cases[g.experiment, g.device][0].ensemble_of(plan.job.report.final_devices, plan.job.search.members)
        for g in plan.goals
    ]
    return np.asarray(e.error * np.sqrt(np.array(counts, float) * (1.0 - e.left_out)))


def _number(mark: Unit, value: float) -> str:
    return f"{value / mark.scale:.4g} {mark.unit}".strip()
