"""The posterior as a network: from what is shown of a data set to the law of the parameters, learnt from simulations.

    q(s | x),   least  -Σ ln q(s_i | x_i + noise)           neural posterior estimation

with s normal scores of the parameters (``prior.py``), x what is shown (``conditions.py``): a masked autoregressive flow
of rational-quadratic splines (Papamakarios, Pavlakou and Murray 2017, arXiv:1705.07057; Durkan et al. 2019,
arXiv:1906.04032) of flowjax. Simulated are data without the instrument's noise, which is drawn anew in every pass. The
minimum over all laws q is the posterior (Papamakarios and Murray 2016, arXiv:1605.06376). Trained once it answers for
every data set of the same experiment.

A flow turns normal numbers z into s. What it has learnt by heart of its simulations makes it too narrow for others, by
a few per cent: of pairs that it was not trained on, z scatters by more than one. So it begins from normal numbers of
the standard deviation w that is likeliest for these pairs,

    w² = mean of z²,   and w = 1 where that is less.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import logsumexp

from mcdev.calibration.conditions import View
from mcdev.files.archive import archive, write_archive
from mcdev.files.whole_file import ResultsError
from mcdev.machine.environment import computing

FILE = "network.npz"
_LAYERS, _WIDTH, _DEPTH, _KNOTS, _REACH = 4, 48, 2, 6, 5.0
_STEPS, _EPOCHS, _BATCH, _RATE, _STEEPEST, _MEMBERS = 2000, (20, 200), 128, 2e-3, 5.0, 3
"""Steps of training; fewest and most passes over all simulations; pairs in a step; rate; length beyond which a gradient
is cut; flows whose mean is taken. A step whose gradient is no number is left out."""
_WAYS = ((1, 0.3), (1, 0.0), (4, 0.0))
"""Ways to train: times ``_STEPS``, and the weights' decay. Decay keeps few simulations, and such as say little, from
being learnt by heart; where they say much, it keeps the law too wide."""
_BETTER = 2.0  # standard errors by which another way must do better
_CHECKED, _COPIES = 0.1, 4
"""Share of the simulations that says which weights are best, and times that each of them is shown, with other noise."""
_AT_ONCE, _BLOCK = 32, 67  # data sets that draws are made for together, and how many for each


class Network(NamedTuple):
    """A trained one."""

    flows: tuple[Any, ...]
    """Of flowjax; the law is their mean."""
    parameters: int
    width: int
    losses: np.ndarray
    """[epoch, 2]: mean -ln q of those that are trained on, and of those that say when to stop."""
    wide: float = 1.0
    """w: standard deviation of the normal numbers that the flows begin from."""


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


def train(
    scores: np.ndarray, shown: np.ndarray, noise: np.ndarray, seed: int, steps: int = _STEPS, members: int = _MEMBERS
) -> Network:
    """Learn from pairs of normal scores [set, parameter] and what is shown [set, width], to which noise with these
    standard deviations [set, width] is added. About ``steps`` steps of Adam with a rate that falls to nothing; kept are
    the weights that do best on a tenth of the pairs, which are not trained on and whose noise stays the same. These say
    also of which of ``_WAYS`` the first flow, and then all, are trained: the next one while it does better. The law
    is the mean of ``members`` flows with other beginnings and another tenth each: where data are few, they differ, and
    the mean is as wide as it should be (Lakshminarayanan et al. 2017, arXiv:1612.01474). The tenths say also what
    ``Network.wide`` is."""
    rng = np.random.default_rng(seed)
    checked = max(8, int(_CHECKED * len(scores)))
    batch = min(_BATCH, len(scores) - checked)
    rounds = max(1, (len(scores) - checked) // batch)
    flows, losses, squares = [], [], []
    way = _WAYS[0]
    with computing(False):
        beginnings = [_apart(_flow(scores.shape[1], shown.shape[1], seed + i)) for i in range(members)]
        static = beginnings[0][1]
        epoch = _epoch(static, rounds, batch)
        for i, (params, _) in enumerate(beginnings):  # what is not trained (orders of the parameters) is the first's
            order = rng.permutation(len(scores))
            own = tuple(jnp.asarray(a[order[checked:]], jnp.float32) for a in (scores, shown, noise))
            others = [np.repeat(a[order[:checked]], _COPIES, axis=0) for a in (scores, shown, noise)]
            others[1] = others[1] + others[2] * rng.standard_normal(others[2].shape)
            held = tuple(jnp.asarray(a, jnp.float32) for a in others[:2])
            start = _Start(params, jax.random.key(seed + i), own, held)
            found = _trained(epoch, start, way, steps, rounds)
            for other in _WAYS[1:] if i == 0 else ():
                again = _trained(epoch, start, other, steps, rounds)
                gain = (found.each - again.each).reshape(-1, _COPIES).mean(axis=1)
                if not gain.mean() > _BETTER * gain.std() / np.sqrt(gain.size):
                    break
                found, way = again, other
            flows.append(eqx.combine(found.params, static))
            losses.append(found.losses)
            squares.append(float(jnp.mean(_backwards(flows[-1], *held)[0] ** 2)))
    wide = max(1.0, float(np.sqrt(np.mean(squares))))
    return Network(tuple(flows), scores.shape[1], shown.shape[1], np.mean(losses, axis=0), wide)


class _Start(NamedTuple):
    """Of one flow."""

    params: Any
    key: Any
    own: Any
    """That are trained on."""
    held: Any
    """That say which weights are best."""


class _Trained(NamedTuple):
    params: Any
    losses: list[tuple[float, float]]
    each: np.ndarray
    """-ln q of each that is held, with the best weights."""


def _trained(epoch: Callable[..., Any], start: _Start, way: tuple[int, float], steps: int, rounds: int) -> _Trained:
    times, decay = way
    epochs = int(np.clip(-(-times * steps // rounds), *_EPOCHS))
    rate = optax.cosine_decay_schedule(_RATE, epochs * rounds)
    params, state = start.params, _adam().init(start.params)
    best, least, losses = start.params, np.inf, []
    each = np.full(len(start.held[0]), np.inf)
    for number in range(epochs):
        rates = rate(number * rounds + np.arange(rounds))
        key = jax.random.fold_in(start.key, number)
        params, state, mean, loss = epoch(params, state, key, start.own, start.held, rates, decay)
        losses.append((float(mean), float(loss.mean())))
        if losses[-1][1] < least:
            best, least, each = params, losses[-1][1], np.asarray(loss, float)
    return _Trained(best, losses, each)


def _adam() -> Any:
    return optax.chain(optax.clip_by_global_norm(_STEEPEST), optax.scale_by_adam())


def _apart(flow: Any) -> tuple[Any, Any]:
    """What is trained, and the rest."""
    import paramax

    fixed = paramax.NonTrainable
    return eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, fixed))


def _epoch(static: Any, rounds: int, batch: int) -> Callable[..., Any]:
    """One pass over all pairs, by Adam with decay of the weights (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    import paramax

    def each(params: Any, s: Any, x: Any) -> Any:
        return -paramax.unwrap(eqx.combine(params, static)).log_prob(s, x)

    def loss(params: Any, s: Any, x: Any) -> Any:
        return each(params, s, x).mean()

    @jax.jit
    def epoch(params: Any, state: Any, key: Any, data: Any, held: Any, rates: Any, decay: Any) -> Any:
        first, second = jax.random.split(key)
        mixed = jax.random.permutation(first, len(data[0]))[: rounds * batch].reshape(rounds, batch)

        def step(carry: Any, item: Any) -> Any:
            params, state = carry
            which, key, rate = item
            s, x, sd = (a[which] for a in data)
            value, slope = jax.value_and_grad(loss)(params, s, x + sd * jax.random.normal(key, x.shape))
            updates, later = _adam().update(slope, state, params)
            moved = jax.tree.map(lambda p, u: p - rate * (u + decay * p), params, updates)
            fine = jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(slope)]))
            kept = jax.tree.map(lambda new, old: jnp.where(fine, new, old), (moved, later), (params, state))
            return kept, value

        keys = jax.random.split(second, rounds)
        (params, state), values = jax.lax.scan(step, (params, state), (mixed, keys, rates))
        return params, state, values.mean(), each(params, *held)

    return epoch


def draw(network: Network, shown: np.ndarray, number: int, seed: int) -> np.ndarray:
    """``number`` draws for each of what is shown [set, width]: [set, draw, parameter], as many from each flow. They are
    made in blocks of one size, so that they are compiled once."""
    flows = len(network.flows)
    blocks = -(-number // (_BLOCK * flows))
    rows = np.repeat(shown, blocks, axis=0)
    padded = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % _AT_ONCE, axis=0)])
    with computing(False):
        drawn = []
        for k, flow in enumerate(network.flows):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), k), len(padded))
            parts = [
                np.asarray(_sample(flow, network.wide, keys[rows_of], jnp.asarray(padded[rows_of], jnp.float32)))
                for rows_of in (slice(i, i + _AT_ONCE) for i in range(0, len(padded), _AT_ONCE))
            ]
            drawn.append(np.concatenate(parts)[: len(rows)].astype(float).reshape(len(shown), -1, network.parameters))
    mixed = np.stack(drawn, axis=2)  # flow after flow, so that the first draws are of all of them
    return mixed.reshape(len(shown), -1, network.parameters)[:, :number]


@eqx.filter_jit
def _sample(flow: Any, wide: Any, keys: Any, rows: Any) -> Any:
    import paramax

    turn = paramax.unwrap(flow).bijection.transform

    def of_one(key: Any, x: Any) -> Any:
        return jax.vmap(lambda z: turn(wide * z, x))(jax.random.normal(key, (_BLOCK, *flow.shape)))

    return jax.vmap(of_one)(keys, rows)


@eqx.filter_jit
def _backwards(flow: Any, scores: Any, rows: Any) -> tuple[Any, Any]:
    """The normal numbers [set, parameter] that give these scores, and ln of how the volume changes [set]."""
    import paramax

    return jax.vmap(paramax.unwrap(flow).bijection.inverse_and_log_det)(scores, rows)


@eqx.filter_jit
def _log_density(flow: Any, wide: Any, scores: Any, rows: Any) -> Any:
    def of_one(s: Any, x: Any) -> Any:
        z, change = _backwards(flow, s, jnp.broadcast_to(x, (len(s), len(x))))
        return jnp.sum(jax.scipy.stats.norm.logpdf(z, scale=wide), axis=-1) + change

    found = jax.vmap(of_one)(scores, rows)
    return jnp.where(jnp.isnan(found), -jnp.inf, found)


def log_density(network: Network, scores: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """ln q [set, …] of normal scores [set, …, parameter], each set at its own of ``shown`` [set, width]."""
    with computing(False):
        each = scores.reshape(len(shown), -1, network.parameters)
        arrays = jnp.asarray(each, jnp.float32), jnp.asarray(shown, jnp.float32)
        found = np.array([np.asarray(_log_density(flow, network.wide, *arrays), float) for flow in network.flows])
    return np.asarray(logsumexp(found, axis=0) - np.log(len(network.flows))).reshape(scores.shape[:-1])


def write(network: Network, view: View, key: str, file: Path) -> None:
    """Weights, view, and what they were learnt from."""
    leaves = jax.tree.leaves(eqx.filter(network.flows, eqx.is_array))
    arrays: dict[str, Any] = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    arrays |= {f"view_{name}": value for name, value in view._asdict().items()}
    arrays |= {"key": np.array(key), "losses": network.losses, "shape": np.array([network.parameters, network.width])}
    arrays |= {"flows": np.array(len(network.flows)), "wide": np.array(network.wide)}
    write_archive(file, arrays)


def read(file: Path, key: str) -> tuple[Network, View] | None:
    """A network that was learnt from just this; None where there is none. Raises ``ResultsError`` for a damaged one."""
    if not file.is_file():
        return None
    try:
        with archive(file.read_bytes()) as data:
            if str(data["key"]) != key:
                return None
            parameters, width = (int(n) for n in data["shape"])
            wide = float(data["wide"])
            view = View(*(data[f"view_{name}"] for name in View._fields))
            with computing(False):
                flows = tuple(_flow(parameters, width, 0) for _ in range(int(data["flows"])))
                arrays, rest = eqx.partition(flows, eqx.is_array)
                leaves, tree = jax.tree.flatten(arrays)
                own = [jnp.asarray(data[f"leaf_{i}"]) for i in range(len(leaves))]
            if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(leaves, own, strict=True)):
                raise ValueError("its weights have other shapes")
            return Network(
                eqx.combine(jax.tree.unflatten(tree, own), rest), parameters, width, data["losses"], wide
            ), view
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ResultsError(f"{file} is no network of mcdev ({error}); remove it, and it is trained again") from None
