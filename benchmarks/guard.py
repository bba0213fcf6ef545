"""Fails when the hot loop falls below 15 times Numba: a ratio in one run, so that it holds on any machine.

    python -m benchmarks guard

Both compute `step_cost.py`'s problem on one core; they take turns, and the median of the ratios counts. Numba's version
is the faster of the two in `naive.py` (kept in order in place).
"""

from __future__ import annotations

import sys
import time

import naive
import numpy as np
from step_cost import COUPLINGS, STEP, VOLTAGE, Engine, pin

LEAST, ROUNDS = 15.0, 5
OWN_STEPS, THEIR_STEPS = 2048, 48


def main() -> None:
    pin(1)
    engine, numba = Engine("euler_maruyama"), naive.numba_loops(in_place=True)
    ratios = []
    for round_ in range(ROUNDS + 1):  # the first compiles
        begin = time.process_time()
        engine.run(COUPLINGS[-1], OWN_STEPS, STEP, VOLTAGE)
        middle = time.process_time()
        numba(engine.positions, THEIR_STEPS, STEP, VOLTAGE)
        end = time.process_time()
        if round_:
            ratios.append((end - middle) / THEIR_STEPS / ((middle - begin) / OWN_STEPS))
    found = float(np.median(ratios))
    print(f"the hot loop is {found:.1f} times as fast as Numba (rounds {min(ratios):.1f} to {max(ratios):.1f})")
    if found < LEAST:
        sys.exit(f"below {LEAST:g} times Numba: mcdev's loop has become slower")


if __name__ == "__main__":
    main()
