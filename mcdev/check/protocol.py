"""A protocol by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import ValidationError

from mcdev.check.examples import made
from mcdev.check.failure import Failure, first_line
from mcdev.kinds import name_of
from mcdev.protocols.timeline import NoTimeline, Protocol, Timeline


def check_protocol(kind: type[Protocol]) -> Iterator[Failure]:
    """Samples one after the other, and windows within them."""
    name = name_of(kind)
    try:
        protocol = made(kind)
        line: Timeline = protocol.timeline()
        frequencies = np.asarray(protocol.frequencies)
    except (ValidationError, NoTimeline) as error:
        yield Failure(name, "an example that is a protocol", first_line(error))
        return
    count = line.samples
    if line.edges.shape != (count + 1,) or line.start.shape != (count,) or line.end.shape != (count,):
        shapes = f"{line.edges.shape}, {line.start.shape}, {line.end.shape}"
        yield Failure(name, "edges [sample + 1], start and end [sample]", shapes)
        return
    if not (np.diff(line.edges) > 0).all() or line.edges[0] != 0:
        yield Failure(name, "edges that rise from zero", f"{line.edges[:4]} …")
    if not np.isfinite([line.start, line.end]).all():
        yield Failure(name, "finite voltages", "others")
    for window, spans in line.windows.items():
        good = spans.ndim == 2 and spans.shape[1:] == (2,) and spans.dtype.kind == "i"
        if not good or not ((spans[:, 0] >= 0) & (spans[:, 0] < spans[:, 1]) & (spans[:, 1] <= count)).all():
            yield Failure(
                f"{name}, window {window}", f"whole numbers [n, 2] between 0 and {count}", str(spans.tolist())
            )
    if "all" not in line.windows:
        yield Failure(name, "the window 'all'; make the timeline with mcdev.protocols.timeline.timeline", "none")
    if frequencies.ndim != 1 or not (frequencies > 0).all():
        yield Failure(name, "frequencies [n] above zero", str(frequencies))
