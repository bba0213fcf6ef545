"""The benchmark suite by one command, each part in a process of its own:

    python -m benchmarks                     all parts, and the table in docs/speed.md from their results
    python -m benchmarks step_cost scaling   some of them
    python -m benchmarks table               the table alone, from benchmarks/results/
    python -m benchmarks guard               the check that continuous integration makes
    python -m benchmarks battery [OPTIONS]   the statistical battery; OPTIONS are handed on

Scripts and not asv: what is compared here are ratios in one run on one machine, which must be interleaved; asv's
history of times is of use only on a machine that is always the same and idle.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "speed.md"
SUITE = (
    "step_cost",
    "scaling",
    "compact_model",
    "startup",
    "time_to_accuracy",
    "total_error",
    "first_passage",
    "ion_transport",
    "gpu",
)
OTHERS = ("battery", "guard", "score_gradient", "calibration_methods", "scheduling", "sweep_points", "gpu_static")
BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"
ROWS = {
    "C++ euler_maruyama": "hand-written C++ (SIMD)",
    "NumPy float32": "NumPy, float32",
    "Numba float64, kept in order": "Numba",
    "naive JAX float32": "plain JAX",
    "diffrax float32": "diffrax",
}


OBSERVABLES = {
    "conductance": "conductance at the fourth pulse",
    "occupation": "occupation of a terminal's well after it",
    "relaxation": "relaxation time after eight pulses",
}


def result(name: str) -> dict[str, Any]:
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def table() -> str:
    """What stands in docs/speed.md: how many times longer a particle-step takes elsewhere."""
    found = result("step_cost")
    where = found["machine"]
    lines = ["| one particle-step with | takes longer than with mcdev by a factor of |", "|---|---|"]
    for name, label in ROWS.items():
        if name in found["ratios"]:
            middle, spread = found["ratios"][name]
            lines.append(f"| {label} | {middle:.2f} ± {spread:.2f} |")
    whole = result("total_error")
    if whole:
        lines += ["", "| a total error of 1 % of the | takes Numba at the paper's step longer by a factor of |"]
        lines.append("|---|---|")
        for key in sorted(OBSERVABLES.keys() & whole.keys()):
            lines.append(f"| {OBSERVABLES[key]} | {whole[key]['schemes']['mcdev heun']['ratio']:.0f} |")
    lines.append(
        f"\n{where['processor']} with {where['vectors']}, one core, {where['date'][:10]}, "
        f"jax {where['packages']['jax']}; method: [benchmarks/](benchmarks.md)."
    )
    return "\n".join(lines)


def write_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{PAGE.name} has lost its markers {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


def main() -> None:
    asked = sys.argv[1:]
    if asked[:1] == ["battery"]:
        sys.exit(subprocess.run([sys.executable, str(HERE / "battery.py"), *asked[1:]]).returncode)
    unknown = set(asked) - {*SUITE, *OTHERS, "table"}
    if unknown:
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join((*SUITE, *OTHERS, 'table'))}")
    failed = []
    for name in [part for part in asked if part != "table"] or ([] if asked else SUITE):
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")]).returncode:
            failed.append(name)
    if not asked or {"step_cost", "total_error", "table"} & set(asked):
        write_table()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
