# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Parameters from a measured trace
#
# A recorded current, as an oscilloscope leaves it: columns of time, voltage and current. Here the recording is made
# by mcdev itself, from a device whose parameters we change and then pretend not to know: so the answer can be
# checked.

# %%
import tempfile
from pathlib import Path

import numpy as np

import mcdev

folder = Path(tempfile.mkdtemp())

# %% tags=["parameters"]
samples, starts = 250, 4

# %% [markdown]
# ## The recording
#
# Two pulses of an organic device with 1.4 times the capacitance of the preset, and 20 nA of noise in each reading.

# %%
time = np.linspace(0.0, 10.0, samples + 1)  # s
voltage = np.select([time < 1.0, time < 5.0, time < 6.0, time < 8.0], [1.5, 3.5, 1.5, 3.0], 1.5)  # V
planted = mcdev.build(
    {
        "name": "planted",
        "device": {"preset": "device_p", "capacitance": "12.93 uF/cm^2"},
        "protocol": {"kind": "waveform", "time": time.tolist(), "voltage": voltage.tolist()},
        "ensemble": {"devices": 1},
        "measurements": {"on_off": {"kind": "on_off_ratio"}},
    }
)
tree = mcdev.run(planted)
current = tree["response/current"].values[0, 0]  # A, the mean over each sample
noisy = current + np.random.default_rng(1).normal(0.0, 20e-9, current.size)
rows = np.column_stack([time[1:], voltage[1:], noisy])
np.savetxt(
    folder / "scope.csv", rows, delimiter=",", header="time (s),voltage (V),current (A)", comments="", fmt="%.6g"
)

# %% [markdown]
# ## The calibration
#
# Which parameters are free, between which bounds, and which file is to be met. `noise` is the standard deviation of a
# reading.

# %%
(folder / "job.toml").write_text(
    f"""
name = "from_a_trace"
directory = "{folder.as_posix()}"

[device]
preset = "device_p"

[parameters."device.capacitance"]
low = "1 uF/cm^2"
high = "100 uF/cm^2"

[parameters."device.charge_gain"]
low = "0.1 1/V"
high = "30 1/V"

[[curves]]
file = "scope.csv"
noise = "20 nA"

[search]
starts = {{ number = {starts} }}
""",
    encoding="utf-8",
)
fitted = mcdev.calibrate(folder / "job.toml")
fitted

# %% [markdown]
# The interval of the capacitance should hold 12.93 µF/cm², 95 times in a hundred.

# %%
found = fitted["parameters"].dataset
for i, name in enumerate(found["parameter"].values):
    value, low, high, unit = (found[key].values[i] for key in ("value", "low", "high", "unit"))
    print(f"{name} = {value:.4g} {unit}, 95 %: {low:.4g} … {high:.4g}")

# %%
mcdev.draw(fitted)

# %%
mcdev.report(fitted)
