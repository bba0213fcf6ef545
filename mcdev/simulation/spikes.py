"""Spikes, detected while a run goes: a recorded channel that rises to a threshold and later falls below a reset.

At every interval of the circuit the channel is known at both ends. It may jump between two intervals, with the source;
within one it is taken as linear. So an interval holds at most one beginning and one end of a spike. A spike is written
down once, when it ends. Times are kept as (number of the sample, share of it), which a long run does not round;
:func:`train` makes seconds of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from mcdev.devices.contract import PerLane
from mcdev.measurements.contract import Detector, Measurement, Train


class Watch(eqx.Module):
    """One detector on a batch of lanes, and what it has seen since the cycle began."""

    signal: str = eqx.field(static=True)
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
    """What one detector saw in a cycle."""

    begun: Float[Array, "2 spike lane"]
    """Sample and share of it."""
    ended: Float[Array, "2 spike lane"]
    peak: Float[Array, "spike lane"]
    closed: Int[Array, " lane"]
    """Spikes that ended; one more may still be on."""
    count: Int[Array, " lane"]
    """Of all spikes."""


def detectors(measurements: Iterable[Measurement]) -> tuple[Detector, ...]:
    """Those that these measurements need; equal ones are one."""
    return tuple(dict.fromkeys(m.detector for m in measurements if m.detector is not None))


def watching(found: Iterable[Detector], full_scale: PerLane, dtype: Any) -> tuple[Watch, ...]:
    """These detectors at the beginning of a cycle. ``full_scale``: G_max of each lane (S)."""
    lanes = full_scale.shape[-1]
    zeros, none = jnp.zeros(lanes, dtype), jnp.zeros(lanes, jnp.uint32)
    return tuple(
        Watch(
            signal=each.signal,
            threshold=(each.threshold * (full_scale if each.full_scale else zeros + 1.0)).astype(dtype),
            reset=(each.reset * (full_scale if each.full_scale else zeros + 1.0)).astype(dtype),
            sample=none,
            inside=jnp.zeros(lanes, bool),
            begun=jnp.zeros((2, lanes), dtype),
            peak=zeros,
            ended=none,
            kept=jnp.zeros((5, each.most, lanes), dtype),
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
    return tuple(_watched(each, before[each.signal], behind[each.signal], interval, intervals) for each in watches)


def _watched(
    at: Watch, before: PerLane, behind: PerLane, interval: UInt32[Array, ""], intervals: UInt32[Array, " lane"]
) -> Watch:
    active, sample = interval < intervals, at.sample + (interval + 1 == intervals)
    lowest, highest = jnp.minimum(before, behind), jnp.maximum(before, behind)

    def without() -> Watch:
        peak = jnp.where(active & at.inside, jnp.maximum(at.peak, highest), at.peak)
        return replace(at, peak=peak, sample=sample)

    def crossing() -> Watch:
        after = _crossing(at, before, behind, jnp.asarray(interval, at.peak.dtype), intervals, active)
        return replace(after, sample=sample)

    event = active & jnp.where(at.inside, lowest < at.reset, highest >= at.threshold)
    return lax.cond(jnp.any(event), crossing, without)  # most intervals have none, in any lane


def _crossing(
    at: Watch,
    before: PerLane,
    behind: PerLane,
    interval: PerLane,
    intervals: UInt32[Array, " lane"],
    active: Bool[Array, " lane"],
) -> Watch:
    """The same where a spike begins or ends in some lane, but for the number of the sample."""
    lanes, most = at.peak.shape[0], at.kept.shape[1]
    sample, count = at.sample.astype(at.peak.dtype), jnp.maximum(intervals, 1).astype(at.peak.dtype)

    def when(level: PerLane, crossed: Bool[Array, " lane"]) -> Float[Array, "2 lane"]:
        """Sample and share where the channel crosses a level within the interval."""
        rise = jnp.where(crossed, behind - before, 1.0)
        return jnp.stack([sample, (interval + jnp.where(crossed, (level - before) / rise, 0.0)) / count])

    # Between the interval before and this one:
    starts, stops = active & ~at.inside & (before >= at.threshold), active & at.inside & (before < at.reset)
    inside = (at.inside | starts) & ~stops
    # Within this one:
    rises, falls = active & ~inside & (behind >= at.threshold), active & inside & (behind < at.reset)
    here = jnp.stack([sample, interval / count])
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
        kept=at.kept.at[:, slot, jnp.arange(lanes)].set(row, mode="drop"),
    )


def seen(at: Watch) -> Spikes:
    """All that a detector has seen; a spike that is still on stands behind those that have ended."""
    still = at.inside & (jnp.arange(at.kept.shape[1], dtype=jnp.uint32)[:, None] == at.ended)
    begun = jnp.where(still, at.begun[:, None], at.kept[:2])
    peak = jnp.where(still, at.peak, at.kept[4])
    return Spikes(begun, at.kept[2:4], peak, at.ended, at.ended + at.inside)


def train(spikes: Spikes, widths: Float[Array, "sample trial"], which: Int[Array, " lane"]) -> Train:
    """The same with times in seconds, in the precision of ``widths``, the lengths of the samples (s); ``which``: the
    trial of each lane. NumPy's or JAX's arrays, the lanes last."""
    own: Any = jnp if isinstance(widths, jax.Array) else np
    most = spikes.peak.shape[0]
    number = own.arange(most)[:, None]
    edges = own.cumsum(widths, axis=0) - widths

    def seconds(at: Any) -> Any:
        sample, share = own.minimum(at[0].astype(int), widths.shape[0] - 1), at[1].astype(widths.dtype)
        return edges[sample, which] + share * widths[sample, which]

    onset, end = seconds(spikes.begun), seconds(spikes.ended)
    first = own.full_like(onset[:1], own.nan)
    interval = own.concatenate([first, onset[1:] - onset[:-1]])
    kept = number < spikes.count
    return Train(
        sample=spikes.begun[0].astype(int),
        share=spikes.begun[1],
        interval=own.where(kept, interval, own.nan),
        width=own.where(number < spikes.closed, end - onset, own.nan),
        peak=own.where(kept, spikes.peak, own.nan),
        count=spikes.count,
    )
