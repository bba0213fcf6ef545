"""What the hopping view costs: a 5 ms pulse of 0.75 V and 60 ms of relaxation of 1,000 devices of 102 particles, alike
and all different, as a share of what steps of the Langevin equation would take by mcdev's own forecast.

    python benchmarks/hopping.py [devices]

Processor time of this process without compilation (a first run of a few devices compiles), so that a busy machine
disturbs little; the forecast times a few calls of the Langevin program in the same minute.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import mcdev
from mcdev.configuration.experiment import build
from mcdev.simulation.forecast import forecast

DEVICE = {
    "kind": "diffusive_hopping", "particles": 102, "half_gap": "7.5 nm", "cooling_rate": "120.8 kHz",
    "threshold_voltage": "0.75 V", "pinning_energy": "0.275 eV", "maximum_conductance": "100 uS",
    "background_temperature": "300 K", "tunnelling_length": 0.0685, "interfacial_energy": 1.257,
    "interfacial_centre": 0.85, "interfacial_width": 0.223, "pinning_period": 0.0772, "pinning_phase": "90 deg",
    "drift": 4.211, "heating": 0.0, "friction": 1.0,
}  # fmt: skip
SPREAD = {
    name: {"distribution": "normal", "mean": DEVICE[name], "sd": 0.02 * DEVICE[name], "low": 0.9 * DEVICE[name],
           "high": 1.1 * DEVICE[name]}
    for name in ("interfacial_energy", "interfacial_width", "pinning_period", "drift")
}  # fmt: skip


def experiment(devices: int, device: dict[str, Any]) -> mcdev.Experiment:
    return build(
        {
            "name": "hopping_cost",
            "device": device,
            "circuit": {"kind": "alone"},
            "protocol": {"kind": "pulse", "amplitude": "0.75 V", "width": "5 ms", "relaxation": "60 ms"},
            "ensemble": {"devices": devices, "seed": 1},
            "measurements": {"tau_d": {"kind": "delay_time", "fraction": 0.02}},
            "output": {"trajectories": 0},
        }
    )


def processor_time(devices: int, device: dict[str, Any]) -> float:
    """Seconds of a whole run, its compilation done before."""
    mcdev.run(experiment(devices, device))
    begin = time.process_time()
    mcdev.run(experiment(devices, device))
    return time.process_time() - begin


def main(argv: list[str]) -> None:
    devices = int(argv[0]) if argv else 1000
    langevin = forecast(experiment(devices, DEVICE | {"kind": "diffusive"}))
    print(f"Langevin, {devices} devices, forecast: {langevin.computing:.0f} s of processor time")
    for name, device in (("alike", DEVICE), ("different", DEVICE | SPREAD)):
        print(f"hopping, {devices} devices {name}: {processor_time(devices, device):.1f} s of processor time")
    for particles in (51, 102, 204):
        taken = processor_time(256, DEVICE | {"particles": particles})
        print(f"hopping, 256 devices alike of {particles} particles: {taken:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
