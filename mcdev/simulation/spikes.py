"""Spikes, detected while a run goes: a recorded channel that rises to a threshold and later falls below a reset.

At every interval of the circuit the channel is known at both ends. It may jump between two intervals, with the source;
within one it is taken as linear. So an interval holds at most one beginning and one end of a spike. A spike is written
down once, when it ends. Times are kept as (number of the sample, share of it), which a long run does not round;
:func:`train` and :func:`ragged` make seconds of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.devices.contract import PerLane
from mcdev.measurements.contract import Detector, Measurement, Train, of_element


class Watch(eqx.Module):
    """One detector on a batch of lanes, and what it has seen since the cycle began."""

    signal: str = eqx.field(static=True)
    element: str | None = eqx.field(static=True)
    threshold: PerLane
    reset: PerLane
    sample: UInt32[Array, " lane"]
    """Number of the sample that is computed."""
    inside: Bool[Array, " lane"]
    """Whether a spike is on."""
    begun: Float[Array, "2 lane"]
    """Where the latest spike began: sample, share of it. A float32 holds the number of any sample exactly."""
    peak: PerLane
    """Of the latest spike."""
    ended: UInt32[Array, " lane"]
    """Spikes that have ended."""
    kept: Float[Array, "5 spike lane"]
    """Of those, the first: where each began, where it ended, its peak."""


class Spikes(NamedTuple):
    """What one detector saw in a cycle; NumPy's or JAX's arrays."""

    begun: Any
    """Sample and share of it [2, spike, lane]."""
    ended: Any
    """[2, spike, lane]"""
    peak: Any
    """[spike, lane]"""
    closed: Any
    """Spikes that ended [lane]; one more may still be on."""
    count: Any
    """Of all spikes [lane]."""


def detectors(measurements: Iterable[Measurement]) -> tuple[Detector, ...]:
    """Those that these measurements need; equal ones are one."""
    return tuple(dict.fromkeys(m.detector for m in measurements if m.detector is not None))


def watching(found: Iterable[Detector], references: Mapping[str, Any], dtype: Any) -> tuple[Watch, ...]:
    """These detectors at the beginning of a cycle. ``references``: as ``Experiment.references`` gives them [lane]."""
    lanes = references["full_scale"].shape[-1]

    def nothing(kind: Any, *axes: int) -> Any:  # NumPy's zeros: JAX would compile a program for each shape
        return np.zeros((*axes, lanes), kind)

    def level(each: Detector, number: float) -> PerLane:
        of = of_element(references, "full_scale", each.element)
        full: Any = references[of] if each.full_scale else np.ones(lanes, dtype)
        return (number * full).astype(dtype)

    return tuple(
        Watch(
            signal=each.signal,
            element=each.element,
            threshold=level(each, each.threshold),
            reset=level(each, each.reset),
            sample=nothing(np.uint32),
            inside=nothing(bool),
            begun=nothing(dtype, 2),
            peak=nothing(dtype),
            ended=nothing(np.uint32),
            kept=nothing(dtype, 5, each.most),
        )
        for each in found
    )


def watch(
    watches: tuple[Watch, ...],
    before: Mapping[str, PerLane],
    behind: Mapping[str, PerLane],
    interval: UInt32[Array, ""],
    intervals: UInt32[Array, " lane"],
) -> tuple[Watch, ...]:
    """What has been seen after one more interval of the sample, at whose ends the channels are as given. Lanes that
    have fewer ``intervals`` in this sample stay as they are."""
    names = [of_element(before, each.signal, each.element) for each in watches]
    return tuple(
        _watched(each, before[name], behind[name], interval, intervals)
        for each, name in zip(watches, names, strict=True)
    )


def _watched(
    at: Watch, before: PerLane, behind: PerLane, interval: UInt32[Array, ""], intervals: UInt32[Array, " lane"]
) -> Watch:
    # What a branch can compute by itself it is not given: most intervals end here, and each array costs a pass.
    def without() -> Watch:
        on = (interval < intervals) & at.inside
        peak = jnp.where(on, jnp.maximum(at.peak, jnp.maximum(before, behind)), at.peak)
        return replace(at, peak=peak, sample=at.sample + (interval + 1 == intervals))

    def crossing() -> Watch:
        return _crossing(at, before, behind, interval, intervals)

    ends, begins = jnp.minimum(before, behind) < at.reset, jnp.maximum(before, behind) >= at.threshold
    event = (interval < intervals) & jnp.where(at.inside, ends, begins)
    return lax.cond(jnp.any(event), crossing, without)


def _crossing(
    at: Watch, before: PerLane, behind: PerLane, interval: UInt32[Array, ""], intervals: UInt32[Array, " lane"]
) -> Watch:
    """The same where a spike begins or ends in some lane."""
    dtype, lanes, most = at.peak.dtype, at.peak.shape[0], at.kept.shape[1]
    active = interval < intervals
    sample, number = at.sample.astype(dtype), jnp.asarray(interval, dtype)
    count = jnp.maximum(intervals, 1).astype(dtype)

    def when(level: PerLane, crossed: Bool[Array, " lane"]) -> Float[Array, "2 lane"]:
        """Sample and share where the channel crosses a level within the interval."""
        rise = jnp.where(crossed, behind - before, 1.0)
        return jnp.stack([sample, (number + jnp.where(crossed, (level - before) / rise, 0.0)) / count])

    # Between the interval before and this one:
    starts, stops = active & ~at.inside & (before >= at.threshold), active & at.inside & (before < at.reset)
    inside = (at.inside | starts) & ~stops
    # Within this one:
    rises, falls = active & ~inside & (behind >= at.threshold), active & inside & (behind < at.reset)
    here = jnp.stack([sample, number / count])
    begun = jnp.where(starts, here, at.begun)
    peak = jnp.where(starts, before, jnp.where(active & inside, jnp.maximum(at.peak, before), at.peak))
    over = stops | falls
    row = jnp.concatenate([begun, jnp.where(stops, here, when(at.reset, falls)), peak[None]])
    slot = jnp.where(over, at.ended, jnp.uint32(most))  # beyond the last one nothing is written
    peak = jnp.where(active & inside & ~falls, jnp.maximum(peak, behind), peak)
    return replace(
        at,
        inside=(inside | rises) & ~falls,
        begun=jnp.where(rises, when(at.threshold, rises), begun),
        peak=jnp.where(rises, behind, peak),
        ended=at.ended + over,
        sample=at.sample + (interval + 1 == intervals),
        kept=at.kept.at[:, slot, jnp.arange(lanes)].set(row, mode="drop"),
    )


def seen(at: Watch) -> Spikes:
    """All that a detector has seen; a spike that is still on stands behind those that have ended."""
    still = at.inside & (jnp.arange(at.kept.shape[1], dtype=jnp.uint32)[:, None] == at.ended)
    begun = jnp.where(still, at.begun[:, None], at.kept[:2])
    peak = jnp.where(still, at.peak, at.kept[4])
    return Spikes(begun, at.kept[2:4], peak, at.ended, at.ended + at.inside)


@functools.partial(jax.jit, static_argnames=("found",))
def in_series(
    found: tuple[Detector, ...], series: Mapping[str, Float[Array, "sample lane"]], references: Mapping[str, PerLane]
) -> tuple[Spikes, ...]:
    """What detectors see in series that are there already, one value a sample: over each sample a channel goes on from
    its last value."""
    first = next(iter(series.values()))
    ones = jnp.ones(first.shape[1], jnp.uint32)

    def step(at: Any, i: Any) -> tuple[Any, None]:
        before, behind = ({name: x[jnp.maximum(j, 0)] for name, x in series.items()} for j in (i - 1, i))
        return watch(at, before, behind, jnp.uint32(0), ones), None

    watches, _ = lax.scan(step, watching(found, references, first.dtype), jnp.arange(first.shape[0]))
    return tuple(seen(each) for each in watches)


def _seconds(at: Any, widths: Any, which: Any) -> Any:
    """Time since the cycle began, of samples and shares [2, spike, lane]; NumPy's or JAX's arrays."""
    edges = widths.cumsum(axis=0) - widths
    sample = at[0].astype(int).clip(0, widths.shape[0] - 1)
    return edges[sample, which] + at[1].astype(widths.dtype) * widths[sample, which]


def train(spikes: Spikes, widths: Any, which: Any) -> Train:
    """The same as measurements see it, in the precision of ``widths``, the lengths of the samples [sample, trial] (s);
    ``which``: the trial of each lane [lane]. NumPy's or JAX's arrays, the lanes last."""
    own: Any = jnp if isinstance(widths, jax.Array) else np
    number = own.arange(spikes.peak.shape[0])[:, None]
    onset, end = (_seconds(at, widths, which) for at in (spikes.begun, spikes.ended))
    interval = own.concatenate([own.full_like(onset[:1], own.nan), onset[1:] - onset[:-1]])
    kept = number < spikes.count
    return Train(
        sample=spikes.begun[0].astype(int),
        share=spikes.begun[1],
        interval=own.where(kept, interval, own.nan),
        width=own.where(number < spikes.closed, end - onset, own.nan),
        peak=own.where(kept, spikes.peak, own.nan),
        count=spikes.count,
    )


# -------------------------------------------------------------------------------------- lists of unlike length


class Ragged(NamedTuple):
    """The spikes of many realisations as flat lists, those of one after those of another: by device, then cycle, then
    time."""

    total: np.ndarray
    """Of all spikes [device, cycle]; zero where the realisation broke down."""
    kept: np.ndarray
    """How many of them are in the lists [device, cycle]."""
    onset: np.ndarray
    """Seconds since the cycle began [spike]."""
    width: np.ndarray
    """Seconds; NaN of a spike that had not ended."""
    amplitude: np.ndarray
    """Peak of the watched channel (SI)."""


def nothing(devices: int, cycles: int) -> Ragged:
    """No spikes in so many realisations."""
    return gathered([], devices, cycles)


def ragged(spikes: Spikes, widths: np.ndarray, intact: np.ndarray) -> Ragged:
    """The spikes of one cycle of devices at one sweep point. ``widths``: lengths of the samples [sample] (s)."""
    most, devices = spikes.peak.shape
    total = np.where(intact, spikes.count, 0).astype(np.int64)
    kept = np.minimum(total, most)
    which = (np.arange(most)[:, None] < kept).T
    column, none = widths[:, None], np.zeros(devices, int)
    onset, end = (_seconds(at, column, none) for at in (spikes.begun, spikes.ended))
    width = np.where(np.arange(most)[:, None] < spikes.closed, end - onset, np.nan)
    flat = (series.T[which].astype(np.float64) for series in (onset, width, spikes.peak))
    return Ragged(total[:, None], kept[:, None], *flat)


def gathered(parts: Sequence[tuple[Ragged, int, int]], devices: int, cycles: int) -> Ragged:
    """Parts of as many realisations put in order, each with the number of its first device and first cycle. What no
    part has counts as without spikes."""
    total, kept = (np.zeros((devices, cycles), np.int64) for _ in range(2))
    places = [np.empty(0, np.int64)]
    for part, device, cycle in parts:
        d, c = part.total.shape
        total[device : device + d, cycle : cycle + c] = part.total
        kept[device : device + d, cycle : cycle + c] = part.kept
        place = (device + np.arange(d))[:, None] * cycles + cycle + np.arange(c)
        places.append(np.repeat(place.ravel(), part.kept.ravel()))
    order = np.argsort(np.concatenate(places), kind="stable")
    lists = (np.concatenate([np.empty(0), *(part[i] for part, _, _ in parts)])[order] for i in (2, 3, 4))
    return Ragged(total, kept, *lists)
