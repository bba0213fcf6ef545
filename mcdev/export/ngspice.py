"""Run ngspice on a netlist and read what it computed as an instrument would: means over the samples of a timeline."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.protocols.timeline import Timeline

_TIMEOUT = 600  # s


class NgspiceError(RuntimeError):
    """ngspice refused or warned of something; the message is its own."""


def available() -> bool:
    """Whether there is an ngspice to run."""
    return shutil.which("ngspice") is not None


def piecewise_linear(timeline: Timeline, edge: float) -> str:
    """The source voltage as ``PWL(t v …)``. Where it jumps, it goes straight for ``edge`` seconds after the jump: a
    simulator has no jumps, and the sample before must not see it."""
    times, volts = [0.0], [float(timeline.start[0])]

    def add(time: float, voltage: float) -> None:
        if time > times[-1]:
            times.append(time)
            volts.append(voltage)

    for i in range(timeline.samples):
        begin, end = timeline.edges[i], timeline.edges[i + 1]
        if timeline.start[i] != volts[-1]:
            slope = (timeline.end[i] - timeline.start[i]) / (end - begin)
            add(begin + edge, float(timeline.start[i] + edge * slope))
        ahead = slice(i, i + 2)
        levels = {*timeline.start[ahead], *timeline.end[ahead]}
        if len(levels) > 1 or i + 1 == timeline.samples:  # the middle of a flat stretch needs no point
            add(end, float(timeline.end[i]))
    return "PWL(" + " ".join(f"{t:.12g} {v:.9g}" for t, v in zip(times, volts, strict=True)) + ")"


def transient(
    circuit: str, vectors: Sequence[str], stop: float, step: float, options: str = ""
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times and vectors (``i(vcol)``, ``v(x1.q)``) of a transient analysis of ``circuit`` (elements, includes) with
    steps no longer than ``step``, at the simulator's own times. Raises as :func:`waves` does."""
    given = f"{circuit.rstrip()}\n.options {options}" if options else circuit
    found = waves(given, vectors, f".tran {step:.9g} {stop:.12g} 0 {step:.9g}")
    return found["time"], {name: found[name.lower()] for name in vectors}


def waves(circuit: str, vectors: Sequence[str], analysis: str) -> dict[str, np.ndarray]:
    """Vectors of one analysis (``.op``, ``.tran 1u 1m 0 1u uic``), names in lower case; of a transient also ``time``.

    Raises ``ConfigError`` where ngspice is not installed, ``NgspiceError`` for what it refuses or warns of.
    """
    program = shutil.which("ngspice")
    if program is None:
        message = (
            "is not installed; on Debian or Ubuntu: apt-get install ngspice (see ngspice.sourceforge.io elsewhere)"
        )
        raise ConfigError([Problem("ngspice", None, message)], "circuit simulator")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = ["* netlist made by mcdev", circuit.rstrip(), analysis, f".save {' '.join(vectors)}"]
        control = ["set filetype=binary", "run", "write waves.raw", "quit"]
        lines += [".control", *control, ".endc", ".end", ""]
        (folder / "netlist.cir").write_text("\n".join(lines), encoding="ascii")
        done = subprocess.run(
            [program, "-n", "-b", "netlist.cir"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
        said = complaints(done.stdout + "\n" + done.stderr)
        written = folder / "waves.raw"
        if said or not written.exists():
            raise NgspiceError("\n".join(said) or f"ngspice wrote no waves: {done.stderr.strip()[-500:]}")
        return _raw(written)


def complaints(text: str) -> list[str]:
    """The lines of ngspice's output that warn of something or report an error."""
    return [line for line in text.splitlines() if re.search(r"\b(warning|error|failed|abort|singular)", line, re.I)]


def _raw(path: Path) -> dict[str, np.ndarray]:
    """Vectors of a binary raw file: a text header, then one row of doubles a time."""
    header, _, body = path.read_bytes().partition(b"Binary:\n")
    text = header.decode("ascii", "replace")
    names = re.findall(r"^\t\d+\t(\S+)\t", text, re.MULTILINE)
    table = np.frombuffer(body, dtype="<f8").reshape(-1, len(names))
    return dict(zip((n.lower() for n in names), table.T, strict=True))


def sampled(timeline: Timeline, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of a trace over each sample: its integral by trapezoids between the simulator's own times, read at the
    samples' edges. Of a linear trace it is exact whatever the times are."""
    total = np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(times))])
    at = timeline.edges
    left = np.clip(np.searchsorted(times, at, side="right") - 1, 0, times.size - 2)
    part = at - times[left]
    slope = (values[left + 1] - values[left]) / np.maximum(times[left + 1] - times[left], 1e-300)
    upto = total[left] + part * (values[left] + 0.5 * part * slope)
    means: np.ndarray = np.diff(upto) / timeline.widths
    return means


def instance(number: int, nodes: str, name: str, parameters: Mapping[str, float] | None = None) -> str:
    """An element line: ``X3 a b synapse thickness=1.02e-07``."""
    given = "".join(f" {key}={float(value)!r}" for key, value in (parameters or {}).items())
    return f"X{number} {nodes} {name}{given}"
