"""The pictures of the gallery: shipped configurations, run with fewer devices where many take long.

    python docs/pictures.py                  all that are not there yet, into docs/images/gallery/
    python docs/pictures.py fig4b_train …    these, again

They are committed, so that the site is built without computing. `reference.py` writes the page from the same list.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import mcdev

HOUSE = Path(__file__).parents[1]
FOLDER = HOUSE / "docs" / "images" / "gallery"


class Example(NamedTuple):
    """One configuration of the gallery."""

    file: str
    """Below configs/."""
    picture: str
    """Name of the picture that is shown."""
    title: str
    changes: Mapping[str, Any] = MappingProxyType({})
    """Key path → value, with which the picture was made, so that it does not take long."""

    shown: str = ""
    """The picture in docs/images/, if it is of a study or a calibration, or was made on another day."""

    @property
    def name(self) -> str:
        return Path(self.file).stem

    @property
    def image(self) -> Path:
        return FOLDER.parent / self.shown if self.shown else FOLDER / f"{self.name}.png"


def few(devices: int, **more: Any) -> dict[str, Any]:
    return {"ensemble.devices": devices, **more}


CYCLES = {"ensemble.cycles": 5000}
EXAMPLES: dict[str, list[Example]] = {
    "Wang et al. (2017), the printed numbers": [
        Example("wang2017/fig1b_sweep.toml", "loops", "Fig. 1b: current-voltage loops"),
        Example("wang2017/fig3_physical_pulse.toml", "pulse_response", "Fig. 3a: delay and relaxation", few(200)),
        Example("wang2017/fig4a_pulse.toml", "pulse_response", "Fig. 4a: one pulse", few(128)),
        Example(
            "wang2017/fig4a_arrhenius.toml", "arrhenius", "Fig. 4a, inset: relaxation against temperature", few(64)
        ),
        Example("wang2017/fig4b_train.toml", "train_response", "Fig. 4b: facilitation, then depression", few(500)),
        Example("wang2017/fig5b_interval.toml", "interval", "Fig. 5b: weight against the interval", few(48)),
        Example("wang2017/fig5c_rate_change.toml", "rate_change", "Fig. 5c: a change of the rate", few(64)),
        Example("wang2017/fig6b_srdp.toml", "srdp", "Fig. 6b: learning by the rate", few(32)),
        Example("wang2017/fig6d_stdp.toml", "stdp_window", "Fig. 6d: learning by the time of spikes", few(32)),
        Example("wang2017/figS7c_low_rate.toml", "train_response", "Supplementary Fig. 7c: a low rate", few(128)),
    ],
    "Wang et al. (2017), one device in real time": [
        Example("wang2017/device_fig3a_pulse.toml", "pulse_response", "Fig. 3a: delay and relaxation", few(64)),
        Example("wang2017/device_fig1b_sweep.toml", "loops", "Fig. 1b: current-voltage loops", few(8)),
        Example(
            "wang2017/device_fig3b_arrhenius.toml", "arrhenius", "Fig. 3b: relaxation against temperature", few(128)
        ),
        Example("wang2017/device_bridge_density.toml", "arrhenius", "Fig. 3b, from a bridge, by the density", few(32)),
        Example("wang2017/device_fig5b_interval.toml", "interval", "Fig. 5b: weight against the interval", few(64)),
        Example("wang2017/device_fig5c_rate_change.toml", "rate_change", "Fig. 5c: a change of the rate", few(32)),
    ],
    "Shin et al. (2022)": [
        Example("shin2022/fig2_impedance.toml", "impedance", "Fig. 2: impedance spectra"),
        Example("shin2022/fig3_sweep.toml", "loops", "Fig. 3: current-voltage loops"),
        Example("shin2022/fig4_turn_on.toml", "exponential_fits", "Fig. 4: turn-on"),
        Example("shin2022/fig4_relaxation.toml", "exponential_fits", "Fig. 4: relaxation"),
        Example("shin2022/fig5_paired_pulse.toml", "paired_pulse", "Fig. 5b: two pulses"),
        Example("shin2022/fig5_interval.toml", "along_axis", "Fig. 5c-e: facilitation against the interval"),
        Example("shin2022/fig6_four_plus_one.toml", "recovery", "Fig. 6: four pulses and one more"),
        Example("shin2022/fig7_stdp.toml", "stdp_window", "Fig. 7: learning by the time of spikes", few(16)),
        Example("shin2022/srdp.toml", "srdp", "Learning by the rate"),
        Example("shin2022/levels.toml", "", "Both levels of model under one train", shown="gallery/levels.png"),
        Example("shin2022/figS5_magnitude.toml", "along_axis", "Fig. S5: facilitation against the voltage"),
        Example("shin2022/figS6_duration.toml", "along_axis", "Fig. S6: facilitation against the duration"),
        Example("shin2022/ten_thousand.toml", "distributions", "Turn-on times of many devices", few(2000)),
    ],
    "Neurons": [
        Example("neuron/neuron_single.toml", "raster", "A neuron of one memristor"),
        Example("neuron/neuron_noise.toml", "interspike_intervals", "Intervals between spikes"),
        Example("neuron/neuron_rate.toml", "rate_curve", "Firing rate against the voltage"),
        Example("neuron/neuron_pulses.toml", "along_axis", "Integrate and fire with a leak"),
        Example("neuron/neuron_spread.toml", "distributions", "Spread of the firing rate"),
        Example("neuron/neuron_coupled.toml", "raster", "Two coupled neurons"),
    ],
    "Tasks": [
        Example("examples/my_device.toml", "interval", "A sweep, with spread from device to device", few(64)),
        Example("examples/waveform.toml", "waveform", "A waveform from a file"),
        Example("examples/planted_pulse.toml", "device_to_device", "Ten devices through twenty cycles"),
        Example("variability/diffusive_array.toml", "device_to_device", "D2D and C2C", shown="device_to_device.png"),
        Example("variability/omiec_array.toml", "distributions", "Ten thousand devices", shown="omiec_spread.png"),
        Example("wang2017/fig1d_endurance.toml", "cycle_traces", "Endurance", CYCLES, "endurance.png"),
        Example("examples/calibrate_population.toml", "", "A calibration", shown="gallery/calibrate_population.png"),
        Example("crossbar/read_margin.toml", "read_margin", "Read margin of a crossbar", shown="read_margin.png"),
    ],
}


def make(example: Example) -> None:
    """Run the configuration and write its picture."""
    experiment = mcdev.load(HOUSE / "configs" / example.file).with_(example.changes)
    pictures = mcdev.draw(mcdev.run(experiment, report=False))
    if example.picture not in pictures:
        raise SystemExit(f"{example.name}: no picture {example.picture}; there are {', '.join(pictures)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    pictures[example.picture].savefig(example.image, dpi=130)


def main() -> None:
    asked = sys.argv[1:]
    for example in (each for of in EXAMPLES.values() for each in of):
        if example.name in asked or (not asked and not example.image.exists()):
            begin = time.perf_counter()
            make(example)
            print(f"{example.name}: {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
