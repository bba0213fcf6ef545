"""Whether a device changes over its cycles."""

from __future__ import annotations

import numpy as np

from mcdev.statistics.components import Estimate, own_means

_BLOCKS = 20
_FEWEST = 5


def drift(values: np.ndarray, use: np.ndarray) -> Estimate | None:
    """Change of the mean from the first cycle to the last, with its 95 % interval; values [device, cycle].

    Each device's own mean is subtracted; cycles are cut into 20 blocks (at least two cycles each); a straight line is
    fitted to the blocks' means over all devices, and its error is that of their scatter about it (batch means:
    Schmeiser 1982, doi:10.1287/opre.30.3.556). So it holds where a block is longer than the memory from cycle to cycle.
    What is not a straight course, such as a sudden change, shows as a wide interval.

    None where there are fewer than five blocks.
    """
    deviations = np.where(use, values - own_means(values, use)[:, None], 0.0)
    cycles = values.shape[1]
    blocks = np.array_split(np.arange(cycles), max(1, min(_BLOCKS, cycles // 2)))
    filled = [block for block in blocks if use[:, block].any()]
    if len(filled) < _FEWEST:
        return None
    from scipy import stats  # slow to import, and few runs have so many cycles

    means = np.array([deviations[:, block].sum() / use[:, block].sum() for block in filled])
    line = stats.linregress([block.mean() for block in filled], means)
    reach = float(stats.t.ppf(0.975, len(filled) - 2)) * float(line.stderr)
    slope, span = float(line.slope), cycles - 1
    return Estimate(slope * span, (slope - reach) * span, (slope + reach) * span)
