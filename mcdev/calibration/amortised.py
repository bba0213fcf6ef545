"""The posterior as a network: from what is shown of a data set to the law of the parameters, learnt from simulations.

    q(s | x),   least  -Σ ln q(s_i | x_i + noise)           neural posterior estimation

with s normal scores of the parameters (``prior.py``), x what is shown (``conditions.py``): a masked autoregressive flow
of rational-quadratic splines (Papamakarios, Pavlakou and Murray 2017, arXiv:1705.07057; Durkan et al. 2019,
arXiv:1906.04032) of flowjax. Simulated are data without the instrument's noise, which is drawn anew in every pass. The
minimum over all laws q is the posterior (Papamakarios and Murray 2016, arXiv:1605.06376). Trained once it answers for
every data set of the same experiment.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mcdev.calibration.conditions import View
from mcdev.files import structure
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.machine.environment import computing

FILE = "network.npz"
_LAYERS, _WIDTH, _DEPTH, _KNOTS, _REACH = 4, 48, 2, 6, 5.0
_STEPS, _EPOCHS, _BATCH, _RATE, _STEEPEST = 4000, (20, 200), 128, 2e-3, 5.0
"""Steps of training; fewest and most passes over all simulations; pairs in a step; rate; length beyond which a gradient
is cut. A step whose gradient is no number is left out."""
_CHECKED, _COPIES = 0.1, 4
"""Share of the simulations that says which weights are best, and times that each of them is shown, with other noise."""
_AT_ONCE, _BLOCK = 32, 200  # data sets that draws are made for together, and how many for each


class Network(NamedTuple):
    """A trained one."""

    flow: Any
    """Of flowjax; None of a plan without parameters."""
    parameters: int
    width: int
    losses: np.ndarray
    """[epoch, 2]: mean -ln q of those that are trained on, and of those that say when to stop."""


def flowjax_at_hand() -> bool:
    """Whether the library is installed."""
    import importlib.util

    return importlib.util.find_spec("flowjax") is not None


def _flow(parameters: int, width: int, seed: int) -> Any:
    from flowjax import distributions
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.flows import masked_autoregressive_flow

    standard: Any = distributions.StandardNormal
    return masked_autoregressive_flow(
        jax.random.key(seed),
        base_dist=standard((parameters,)),
        transformer=RationalQuadraticSpline(knots=_KNOTS, interval=_REACH),
        cond_dim=width,
        flow_layers=_LAYERS,
        nn_width=_WIDTH,
        nn_depth=_DEPTH,
        nn_activation=jax.nn.silu,
    )


def train(scores: np.ndarray, shown: np.ndarray, noise: np.ndarray, seed: int, steps: int = _STEPS) -> Network:
    """Learn from pairs of normal scores [set, parameter] and what is shown [set, width], to which noise with these
    standard deviations [set, width] is added. About ``steps`` steps of Adam with a rate that falls to nothing; kept are
    the weights that do best on a tenth of the pairs, which are not trained on and whose noise stays the same."""
    import paramax

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(scores))
    checked = max(8, int(_CHECKED * len(order)))
    batch = min(_BATCH, len(order) - checked)
    rounds = max(1, (len(order) - checked) // batch)
    epochs = int(np.clip(-(-steps // rounds), *_EPOCHS))
    with computing(False):
        own = tuple(jnp.asarray(a[order[checked:]], jnp.float32) for a in (scores, shown, noise))
        others = [np.repeat(a[order[:checked]], _COPIES, axis=0) for a in (scores, shown, noise)]
        others[1] = others[1] + others[2] * rng.standard_normal(others[2].shape)
        held = tuple(jnp.asarray(a, jnp.float32) for a in others[:2])
        params, static = eqx.partition(
            _flow(scores.shape[1], shown.shape[1], seed),
            eqx.is_inexact_array,
            is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
        )
        rate = optax.cosine_decay_schedule(_RATE, epochs * rounds)
        optimiser = optax.apply_if_finite(optax.chain(optax.clip_by_global_norm(_STEEPEST), optax.adam(rate)), 2**30)

        def loss(params: Any, s: Any, x: Any) -> Any:
            return -paramax.unwrap(eqx.combine(params, static)).log_prob(s, x).mean()

        @jax.jit
        def epoch(params: Any, state: Any, key: Any, data: Any, held: Any) -> Any:
            first, second = jax.random.split(key)
            mixed = jax.random.permutation(first, len(data[0]))[: rounds * batch].reshape(rounds, batch)

            def step(carry: Any, item: Any) -> Any:
                params, state = carry
                which, key = item
                s, x, sd = (a[which] for a in data)
                value, slope = jax.value_and_grad(loss)(params, s, x + sd * jax.random.normal(key, x.shape))
                updates, state = optimiser.update(slope, state, params)
                return (optax.apply_updates(params, updates), state), value

            keys = jax.random.split(second, rounds)
            (params, state), values = jax.lax.scan(step, (params, state), (mixed, keys))
            return params, state, values.mean(), loss(params, *held)

        best, least, losses = params, np.inf, []
        state, key = optimiser.init(params), jax.random.key(seed)
        for i in range(epochs):
            params, state, mean, checked_loss = epoch(params, state, jax.random.fold_in(key, i), own, held)
            losses.append((float(mean), float(checked_loss)))
            if losses[-1][1] < least:
                best, least = params, losses[-1][1]
    return Network(eqx.combine(best, static), scores.shape[1], shown.shape[1], np.array(losses))


def draw(network: Network, shown: np.ndarray, number: int, seed: int) -> np.ndarray:
    """``number`` draws for each of what is shown [set, width]: [set, draw, parameter]. They are made in blocks of one
    size, so that they are compiled once."""
    blocks = -(-number // _BLOCK)
    rows = np.repeat(shown, blocks, axis=0)
    padded = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % _AT_ONCE, axis=0)])
    with computing(False):
        keys = jax.random.split(jax.random.key(seed), len(padded))
        parts = [
            np.asarray(
                _sample(network.flow, keys[i : i + _AT_ONCE], jnp.asarray(padded[i : i + _AT_ONCE], jnp.float32))
            )
            for i in range(0, len(padded), _AT_ONCE)
        ]
    drawn = np.concatenate(parts)[: len(rows)].astype(float)
    return drawn.reshape(len(shown), blocks * _BLOCK, network.parameters)[:, :number]


@eqx.filter_jit
def _sample(flow: Any, keys: Any, rows: Any) -> Any:
    return jax.vmap(lambda key, x: flow.sample(key, (_BLOCK,), x))(keys, rows)


@eqx.filter_jit
def _log_density(flow: Any, scores: Any, rows: Any) -> Any:
    return jax.vmap(lambda s, x: flow.log_prob(s, x))(scores, rows)


def log_density(network: Network, scores: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """ln q [set, …] of normal scores [set, …, parameter], each set at its own of ``shown`` [set, width]."""
    with computing(False):
        found = _log_density(network.flow, jnp.asarray(scores, jnp.float32), jnp.asarray(shown, jnp.float32))
        return np.asarray(found, float)


def write(network: Network, view: View, key: str, file: Path) -> None:
    """Weights, view, and what they were learnt from."""
    leaves = jax.tree.leaves(eqx.filter(network.flow, eqx.is_array))
    arrays: dict[str, Any] = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    arrays |= {f"view_{name}": value for name, value in view._asdict().items()}
    arrays |= {"key": np.array(key), "losses": network.losses, "shape": np.array([network.parameters, network.width])}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with whole_file(file) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read(file: Path, key: str) -> tuple[Network, View] | None:
    """A network that was learnt from just this; None where there is none. Raises ``ResultsError`` for a damaged one."""
    if not file.is_file():
        return None
    try:
        content = file.read_bytes()
        structure.check_archive(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            parameters, width = (int(n) for n in data["shape"])
            view = View(*(data[f"view_{name}"] for name in View._fields))
            with computing(False):
                arrays, rest = eqx.partition(_flow(parameters, width, 0), eqx.is_array)
                leaves, tree = jax.tree.flatten(arrays)
                own = [jnp.asarray(data[f"leaf_{i}"]) for i in range(len(leaves))]
            if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(leaves, own, strict=True)):
                raise ValueError("its weights have other shapes")
            return Network(eqx.combine(jax.tree.unflatten(tree, own), rest), parameters, width, data["losses"]), view
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ResultsError(f"{file} is no network of mcdev ({error}); remove it, and it is trained again") from None
