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
# # A sweep, and a picture of one's own
#
# Facilitation against the time between two pulses, for the organic device of Shin et al. (2022). Any key of a
# configuration may be an axis of a sweep.

# %%
import numpy as np
from matplotlib import pyplot

import mcdev

# %% tags=["parameters"]
devices, intervals = 64, 8

# %%
tree = mcdev.run(
    {
        "name": "interval",
        "device": {
            "preset": "device_p",
            "thickness": {"distribution": "lognormal", "median": "100 nm", "sigma": 0.03},
        },
        "protocol": {
            "kind": "pulse_train",
            "amplitude": "3.5 V",
            "width": "100 ms",
            "gap": "50 ms",
            "count": 2,
        },
        "ensemble": {"devices": devices},
        "measurements": {"ppf": {"kind": "paired_pulse"}},
        "sweep": {"axes": {"protocol.gap": {"start": "50 ms", "stop": "5 s", "count": intervals, "spacing": "log"}}},
    }
)
tree

# %% [markdown]
# mcdev's pictures know that there is a sweep.

# %%
mcdev.draw(tree)

# %% [markdown]
# For a picture of one's own, the numbers stand in the tree with names of their dimensions: values `[point, device,
# cycle]`, and the axis of the sweep `[point]`.

# %%
gap = tree["sweep/protocol.gap"].values  # s
ppf = tree["measurements/ppf/value"].values[:, :, 0]  # 1
low, middle, high = np.quantile(ppf, [0.05, 0.5, 0.95], axis=1)

figure, axes = pyplot.subplots(figsize=(3.4, 2.4), layout="constrained")
axes.fill_between(1e3 * gap, 100 * low, 100 * high, alpha=0.3, linewidth=0, label="5–95 % of the devices")
axes.semilogx(1e3 * gap, 100 * middle, "o-", markersize=3, label="median")
axes.set_xlabel("time between the pulses (ms)")
axes.set_ylabel("facilitation (%)")
axes.legend(frameon=False)
figure

# %% [markdown]
# A picture of mcdev may also be drawn into axes of one's own, say beside another.

# %%
figure, (left, right) = pyplot.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
mcdev.draw_panel(tree, "along_axis", left)
right.hist(100 * ppf[0], bins=12)
right.set_xlabel(f"facilitation after {1e3 * gap[0]:.0f} ms (%)")
right.set_ylabel("devices")
figure
