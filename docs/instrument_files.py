"""Files as a source meter would have written them, made from planted devices.

    mcdev run configs/examples/planted_pulse.toml --out runs/planted
    python docs/instrument_files.py runs/planted --output files

One file a device, all its cycles appended, as Keysight EasyEXPERT exports them: 0.1 ms a row, 2.5 ms before the
protocol begins, a noise of 2 nA and 0.5 % of the reading, numbers cut to five digits of the range, a compliance of
60 uA, and now and then a reading that overflowed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

from mcdev.results.file import read
from mcdev.results.tree import experiment_of

ROW, BEFORE = 1e-4, 2.5e-3  # s
FLOOR, SHARE, LIMIT = 2e-9, 5e-3, 60e-6  # A, share, A
RANGES, DIGITS = 10.0 ** np.arange(-8, -2), 1e-5  # A, share of the range
OVERFLOW, SEED = 2e-4, 7
HEAD = """SetupTitle, pulse
PrimitiveTest, I/V-t Sampling
TestParameter, Channel.UnitType, SMU, SMU
TestParameter, Channel.IName, I1, I2
TestParameter, Channel.VName, V1, V2
TestParameter, Measurement.Primary.Compliance, {limit}
DataName, Time, V1, I1
"""


def recorded(edges: np.ndarray, voltage: np.ndarray, current: np.ndarray, draw: np.random.Generator) -> str:
    """One cycle: what is simulated in samples between ``edges`` (s), as an instrument reads it row by row."""
    time = np.arange(0.0, BEFORE + edges[-1] + ROW, ROW)
    rows = np.clip(np.searchsorted(edges, time - BEFORE, side="left") - 1, 0, voltage.size - 1)
    volts, amps = voltage[rows], current[rows]
    amps = amps + (FLOOR + SHARE * np.abs(amps)) * draw.standard_normal(amps.size)
    amps = np.clip(amps, -LIMIT, LIMIT)
    step = DIGITS * RANGES[np.searchsorted(RANGES, np.minimum(np.abs(amps), RANGES[-1]))]
    amps = np.where(draw.random(amps.size) < OVERFLOW, 9.91e37, np.round(amps / step) * step)
    lines = (f"DataValue, {t:.6e}, {v:.6e}, {i:.8e}\n" for t, v, i in zip(time, volts, amps, strict=True))
    return HEAD.format(limit=LIMIT) + "".join(lines)


def write_files(tree: xr.DataTree, folder: Path) -> list[Path]:
    """A file for each device of a run whose course is kept."""
    edges = experiment_of(tree).timeline.edges
    voltage, current = (tree[f"trajectories/{name}"].values[0] for name in ("voltage", "current"))  # [cycle, device, …]
    folder.mkdir(parents=True, exist_ok=True)
    draw, made = np.random.default_rng(SEED), []
    for device in range(current.shape[1]):
        cycles = [recorded(edges, voltage[c, device], current[c, device], draw) for c in range(current.shape[0])]
        made.append(folder / f"device{device + 1:02d}.csv")
        made[-1].write_text("".join(cycles), encoding="utf-8")
    return made


def main() -> None:
    """Write the files of a run's folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=Path("files"))
    given = parser.parse_args()
    for path in write_files(read(given.run), given.output):
        print(path)


if __name__ == "__main__":
    main()
