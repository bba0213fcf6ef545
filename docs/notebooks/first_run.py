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
# # A first run
#
# One device type, a train of pulses, 64 devices that differ. What comes out is one tree with units, from which
# tables, pictures and a report are made.

# %%
import mcdev

# %% tags=["parameters"]
devices = 64

# %% [markdown]
# An experiment says what the device is, what is done to it and what is measured. Every quantity has its unit. A
# number may be a distribution: then each device has its own.

# %%
experiment = mcdev.build(
    {
        "name": "first_run",
        "device": {
            "kind": "volatile_threshold",
            "threshold_voltage": {"distribution": "lognormal", "median": "0.6 V", "sigma": 0.05},
            "hold_voltage": "0.3 V",
            "switching_rate": "400 Hz",
            "switching_exponent": 1.5,
            "relaxation_time": {"distribution": "lognormal", "median": "100 ms", "sigma": 0.3},
            "on_conductance": "100 uS",
            "off_conductance": "1 uS",
        },
        "protocol": {
            "kind": "pulse_train",
            "amplitude": "1 V",
            "width": "1 ms",
            "gap": "20 ms",
            "count": 5,
            "relaxation": "500 ms",
        },
        "ensemble": {"devices": devices},
        "measurements": {
            "conductance": {"kind": "pulse_conductance"},
            "ppf": {"kind": "paired_pulse"},
            "tau_r": {"kind": "relaxation_time", "by": "1/e"},
        },
    }
)
experiment

# %%
tree = mcdev.run(experiment)
tree

# %% [markdown]
# A row for each device, with its parameters, its measurements and how each was read. `ok` is a value,
# `right_censored` a bound: a device that has not relaxed at the end of the recording is counted, not dropped.

# %%
table = mcdev.frame(tree)
table.head()

# %%
for record in mcdev.summarise(tree):
    print(f"{record['measurement']:15} median {record['median']:.4g} {record['unit']}, n = {record['n']}")

# %% [markdown]
# Devices that relax slowly keep more from one pulse to the next. The parameters stand in the same table, so that one
# sees how much of the spread after five pulses is that:

# %%
after_five = table["conductance[5]"].corr(table["relaxation_time"], method="spearman")
print(f"relaxation time and conductance at the fifth pulse: Spearman's r = {after_five:.2f}")

# %%
pictures = mcdev.draw(tree)
pictures

# %% [markdown]
# The same to zoom into, to choose devices and to sort tables. `mcdev.report(tree, "report.html")` writes it into a
# file.

# %%
mcdev.report(tree)
