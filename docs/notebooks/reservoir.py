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
# # An ensemble as a reservoir
#
# A volatile memristor answers a pulse by what it remembers of the pulses before: its conductance is a nonlinear
# function of the input's recent past. Devices that differ give different functions. A reservoir computer reads them
# with weights, and only these are trained, by ridge regression.
#
# Here every pulse carries one number u in its amplitude, at random. We ask sixteen devices at a time for two things:
# the number d pulses ago, and the product of the numbers d and d + 1 pulses ago, which no linear function of the
# inputs gives. How well they do depends on which sixteen devices one has: so each error has a spread.

# %%
import numpy as np
from matplotlib import pyplot

import mcdev

# %% tags=["parameters"]
devices, pulses = 256, 1200

# %% [markdown]
# ## The input
#
# A pulse of 5 ms every 20 ms. Between pulses the source reads at 0.1 V, where the devices relax.

# %%
draw = np.random.default_rng(7)
u = draw.uniform(0.0, 1.0, pulses)
period, width, read = 20e-3, 5e-3, 0.1
edges = period * np.arange(pulses + 1)
begin, end = edges[:-1], edges[1:]
time = np.column_stack([begin, begin + width, begin + width, end]).ravel()
high = 0.65 + 0.5 * u
voltage = np.column_stack([high, high, np.full(pulses, read), np.full(pulses, read)]).ravel()

experiment = mcdev.build(
    {
        "name": "reservoir",
        "device": {
            "kind": "volatile_threshold",
            "threshold_voltage": {"distribution": "lognormal", "median": "0.6 V", "sigma": 0.1},
            "hold_voltage": "0.3 V",
            "switching_rate": {"distribution": "lognormal", "median": "100 Hz", "sigma": 0.3},
            "switching_exponent": 1.5,
            "relaxation_time": {"distribution": "lognormal", "median": "60 ms", "sigma": 0.6},
            "on_conductance": "100 uS",
            "off_conductance": "1 uS",
        },
        "protocol": {"kind": "waveform", "time": time.tolist(), "voltage": voltage.tolist()},
        "ensemble": {"devices": devices, "seed": 3},
        "measurements": {"g": {"kind": "mean_conductance"}},
        "output": {"trajectories": devices, "quantiles": [0.5]},
    }
)
tree = mcdev.run(experiment)

# %% [markdown]
# What is read: the conductance of each device, averaged over the time between a pulse and the next.

# %%
course = tree["trajectories/conductance"].isel(point=0, kept_cycle=0)
windows = course["time"].values[0] if course["time"].ndim > 1 else course["time"].values
between = (windows % period) > width
states = course.values[:, between].reshape(course.shape[0], pulses, -1).mean(axis=2).T  # [pulse, device]
states = 1e6 * states  # µS
print(f"{states.shape[1]} devices after each of {states.shape[0]} pulses")

# %% [markdown]
# ## The readout
#
# Ridge regression on the first two thirds, the error on the rest: the root of the mean square over the standard
# deviation of what is asked for. One means that nothing is remembered. The strength of the ridge is chosen on a part
# of the training set.

# %%
skipped, longest = 20, 8
split = 2 * pulses // 3
ridges = 10.0 ** np.arange(-6, 3)


def weights(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Of the columns of ``x`` and a constant, which is not held small."""
    full = np.column_stack([x, np.ones(len(x))])
    penalty = ridge * len(x) * np.diag([*np.ones(x.shape[1]), 0.0])
    return np.linalg.solve(full.T @ full + penalty, full.T @ y)


def error(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """Root mean square over standard deviation."""
    return float(np.sqrt(np.mean((x @ w[:-1] + w[-1] - y) ** 2)) / y.std())


def trained_error(own: np.ndarray, asked: np.ndarray) -> float:
    """Of a reservoir with these states [pulse, device]; ``asked`` [pulse]."""
    x = (own - own[skipped:split].mean(axis=0)) / own[skipped:split].std(axis=0)
    first = (2 * split) // 3
    tried = [
        error(x[first:split], asked[first:split], weights(x[skipped:first], asked[skipped:first], r)) for r in ridges
    ]
    best = weights(x[skipped:split], asked[skipped:split], ridges[int(np.argmin(tried))])
    return error(x[split:], asked[split:], best)


def delayed(values: np.ndarray, by: int) -> np.ndarray:
    return np.concatenate([np.zeros(by), values[: len(values) - by]])


# %%
size = 16
reservoirs = [np.arange(i, i + size) for i in range(0, devices - size + 1, size)]  # no device is in two of them
tasks = {
    "u of d pulses ago": [delayed(u, d) for d in range(longest)],
    "product of u of d and d + 1 pulses ago": [delayed(u, d) * delayed(u, d + 1) for d in range(longest)],
}
errors = {
    name: np.array([[trained_error(states[:, own], asked) for own in reservoirs] for asked in targets])
    for name, targets in tasks.items()
}

# %% [markdown]
# ## What comes out
#
# Medians over the reservoirs with the range of all of them. The dashed line is what the pulses themselves give,
# without any memristor: the last number u, and its square.

# %%
figure, axes = pyplot.subplots(figsize=(3.4, 2.6), layout="constrained")
for (name, found), colour in zip(errors.items(), ("tab:blue", "tab:red"), strict=True):
    axes.fill_between(range(longest), found.min(axis=1), found.max(axis=1), color=colour, alpha=0.2, linewidth=0)
    axes.plot(range(longest), np.median(found, axis=1), "o-", color=colour, markersize=3, label=name)
    bare = [trained_error(np.column_stack([u, u**2]), asked) for asked in tasks[name]]
    axes.plot(range(longest), bare, "--", color=colour, linewidth=0.8)
axes.set_xlabel("d (pulses)")
axes.set_ylabel("error/standard deviation")
axes.set_ylim(0, 1.15)
axes.legend(frameon=False, fontsize=7, title=f"{len(reservoirs)} reservoirs of {size} devices", title_fontsize=7)
figure

# %% [markdown]
# The memory capacity adds up, over the delays, which share of the variance of u is found again. Of a network without
# noise it is at most the number of its devices (Jaeger 2001); volatile devices that do not talk to each other have
# less, since each forgets at its own rate.

# %%
capacity = np.clip(1.0 - errors["u of d pulses ago"] ** 2, 0.0, None).sum(axis=0)
low, middle, high = np.quantile(capacity, [0.05, 0.5, 0.95])
print(f"memory capacity of {size} devices: {middle:.2f} pulses (5–95 % of the reservoirs: {low:.2f} … {high:.2f})")
