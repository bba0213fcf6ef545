"""A column of synapses with device-to-device spread: the same devices in ngspice and in mcdev.

    mcdev run configs/examples/synaptic_column.toml --out runs/column
    python docs/synaptic_column.py runs/column

Each input drives one device; the other ends share a node at virtual ground, so that the column's current is the sum.
The devices are drawn from the run's model card. What is left: the exported models, the netlist, a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from mcdev.export import export, instances, ngspice, source
from mcdev.export.single import one_device
from mcdev.protocols.timeline import Timeline
from mcdev.results.file import read
from mcdev.simulation.ensemble import simulate
from mcdev.statistics import make_card, read_card, to_toml

BIN, EDGE, SPIKE = 0.01, 1e-5, 5  # s, s, bins: spikes of 50 ms begin on a grid of 10 ms and rise within 10 us
HIGH = 3.5  # V


def spike_trains(inputs: int, bins: int, seed: int) -> np.ndarray:
    """[input, bin]: whether a spike is on. Random spikes, the rate growing from 0.5 Hz (first input) to 4 Hz (last)."""
    draw = np.random.default_rng(seed)
    on = np.zeros((inputs, bins), bool)
    for i, rate in enumerate(np.geomspace(0.5, 4.0, inputs)):
        at = SPIKE
        while at < bins - 2 * SPIKE:
            if draw.random() < rate * BIN:
                on[i, at : at + SPIKE] = True
                at += 2 * SPIKE
            else:
                at += 1
    return on


def waveform(on: np.ndarray) -> dict[str, Any]:
    """A spike train as a ``[protocol]``: two points a bin, so that all inputs share their samples."""
    level = HIGH * on.astype(float)
    before = np.concatenate([[0.0], level[:-1]])
    time = (np.arange(on.size)[:, None] * BIN + np.array([0.0, EDGE])).ravel()
    voltage = np.stack([before, level], axis=1).ravel()
    return {
        "kind": "waveform",
        "time": [*map(float, time), on.size * BIN],
        "voltage": [*map(float, voltage), float(level[-1])],
    }


def netlist(folder: Path, name: str, timelines: list[Timeline]) -> str:
    """The column: sources, devices, and a source of zero volts that holds the common node and reads its current."""
    lines = [f".include {(folder / f'{name}{part}.sub').resolve()}" for part in ("", "_instances")]
    for i, timeline in enumerate(timelines, start=1):
        lines += [f"Vin{i} in{i} 0 {ngspice.piecewise_linear(timeline, EDGE)}", f"X{i} in{i} column {name}_{i}"]
    return "\n".join([*lines, "Vcol column 0 0"])


def column(
    run: Path, folder: Path, inputs: int, duration: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Spikes [input, bin], times, and the column's current of both, mean over each bin but for the edge it begins with:
    there mcdev holds the ramp's middle voltage, and ngspice follows the ramp."""
    experiment, _ = source.open_source(run, {})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.toml").write_text(to_toml(make_card(read(run))), encoding="utf-8")
    name = "synapse"
    export(run, "spice", folder, name, count=inputs, card=folder / "card.toml", seed=seed)

    spikes = spike_trains(inputs, round(duration / BIN), seed)
    draws = instances.from_card(read_card(folder / "card.toml"), 1, experiment, inputs, seed)
    synapses = [
        one_device(experiment, {k: float(v[i]) for k, v in draws.items()}, {"protocol": waveform(train)})
        for i, train in enumerate(spikes)
    ]
    timelines = [synapse.protocol.timeline() for synapse in synapses]
    circuit = netlist(folder, name, timelines)
    step = BIN / 2
    by_hand = f"* column of {inputs} synapses\n{circuit}\n.tran {step} {duration} 0 {step}\n.print tran i(vcol)\n.end\n"
    by_hand = by_hand.replace(f"{folder.resolve()}/", "")
    (folder / "column.cir").write_text(by_hand, encoding="ascii")
    times, waves = ngspice.transient(circuit, ["i(vcol)"], duration, step)
    in_ngspice = ngspice.sampled(timelines[0], times, waves["i(vcol)"])

    in_mcdev = np.sum([simulate(synapse)[0].mean["current"][0] for synapse in synapses], axis=0)
    edges = timelines[0].edges
    return spikes, 0.5 * (edges[1:] + edges[:-1])[1::2], in_ngspice[1::2], in_mcdev[1::2]


def draw(spikes: np.ndarray, time: np.ndarray, in_ngspice: np.ndarray, in_mcdev: np.ndarray, path: Path) -> None:
    """Spikes, both currents, and their difference."""
    import matplotlib.pyplot as plt

    figure, (raster, current, difference) = plt.subplots(
        3, 1, sharex=True, figsize=(7, 5.5), height_ratios=(1.2, 2, 0.8), layout="constrained"
    )
    for i, train in enumerate(spikes):
        begin = np.flatnonzero(np.diff(np.concatenate([[False], train]).astype(int)) == 1)
        raster.broken_barh([(b * BIN, SPIKE * BIN) for b in begin], (i + 0.6, 0.8), color="0.3")
    raster.set(ylabel="input", ylim=(0.4, len(spikes) + 0.6), yticks=[1, len(spikes)])
    current.plot(time, in_ngspice * 1e6, color="tab:blue", lw=2.5, label="ngspice")
    current.plot(time, in_mcdev * 1e6, color="k", lw=0.9, ls="--", label="mcdev")
    current.set(ylabel="column current (µA)")
    current.legend(frameon=False, loc="upper left")
    difference.plot(time, 100 * (in_ngspice - in_mcdev) / np.abs(in_mcdev).max(), color="tab:red", lw=0.8)
    difference.set(xlabel="time (s)", ylabel="difference\n(% of peak)")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Run it and say how well the two agree."""
    parser = argparse.ArgumentParser(description="A column of synapses in ngspice and in mcdev")
    parser.add_argument("run", type=Path, help="folder of a run of level-1 devices")
    parser.add_argument("--output", type=Path, default=Path("column"), help="folder for netlist and picture")
    parser.add_argument("--inputs", type=int, default=16)
    parser.add_argument("--duration", type=float, default=6.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1, help="of devices and spikes")
    given = parser.parse_args()
    found = column(given.run, given.output, given.inputs, given.duration, given.seed)
    draw(*found, given.output / "column.png")
    rms = np.sqrt(np.mean((found[2] - found[3]) ** 2)) / np.abs(found[3]).max()
    print(f"column of {given.inputs}: rms difference {100 * rms:.3f} % of the peak; {given.output}/column.png")


if __name__ == "__main__":
    main()
