"""Fails when the hot loop falls below 12 times Numba, or a whole run takes much longer than its loop: ratios in one
run, so that they hold on any machine.

    python -m benchmarks guard

Both compute `step_cost.py`'s problem on one core; they take turns, and the median of the ratios counts. Numba's version
is the faster of the two in `naive.py` (kept in order in place). A whole run is a cycle of the same devices with all
that is drawn, solved, recorded and measured, alone and behind a resistor, over the loop of as many steps.
"""

from __future__ import annotations

import sys
import time

import naive
import numpy as np
from step_cost import COUPLINGS, STEP, VOLTAGE, Engine, held, pin

from mcdev.simulation.ensemble import simulate
from mcdev.simulation.trial import trials

LEAST, ROUNDS = 12.0, 5
"""The same code gave 16.6 and 19 times on an AMD EPYC, on different days, and 14.2 to 15.0 on an Intel Xeon (Sapphire
Rapids), where it gave 14.7 before and after a change that did not touch it: what differs is Numba's time. The least
ratio lies a sixth below the lowest of these."""
WHOLE = {"alone": 2.0, "series_resistor": 2.0}
"""Circuit → times as long as its loop that a whole run takes at most. It took 1.6 to 1.75 times when this was written,
as it did before circuits were networks: 2,048 steps are short, so that what is done once counts."""
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
    runs = {circuit: whole_run(engine, circuit) for circuit in WHOLE}
    found = float(np.median(ratios))
    print(f"the hot loop is {found:.1f} times as fast as Numba (rounds {min(ratios):.1f} to {max(ratios):.1f})")
    if found < LEAST:
        sys.exit(f"below {LEAST:g} times Numba: mcdev's loop has become slower")
    slow = [circuit for circuit, ratio in runs.items() if ratio > WHOLE[circuit]]
    if slow:
        sys.exit(f"more than {' and '.join(f'{WHOLE[c]:g} times its loop ({c})' for c in slow)}")


def whole_run(engine: Engine, circuit: str) -> float:
    """Processor time of a run over that of its loop: the median of several turns."""
    wiring = {"kind": circuit} | ({"resistance": "60 ohm"} if circuit == "series_resistor" else {})
    experiment = held({"circuit": wiring, "protocol.duration": f"{OWN_STEPS * STEP} s"})
    coupled = int(2 * trials(experiment)[0].rows.pairs[0])
    ratios = []
    for round_ in range(ROUNDS + 1):
        begin = time.process_time()
        simulate(experiment, threads=1)
        middle = time.process_time()
        engine.run(coupled, OWN_STEPS, STEP, VOLTAGE)
        if round_:
            ratios.append((middle - begin) / (time.process_time() - middle))
    found = float(np.median(ratios))
    print(f"a whole run, {circuit}: {found:.2f} times its loop (rounds {min(ratios):.2f} to {max(ratios):.2f})")
    return found


if __name__ == "__main__":
    main()
