"""Time scales of a network: of its units by their leaks, of its activity, and of its fast weights.

A unit with the time constant tau = 1 / leak follows h <- (1 - 1 / tau) h + (1 / tau) relu(a).
Recurrent connections make other time scales, which show in the autocorrelation of the activity on
random inputs: it decays by exp(-lag / tau). That of a unit which only its leak and white noise
drive is (1 - leak)^lag, hence there -1 / log(1 - leak), nearly 1 / leak - 1/2.

Source: Khajehabdollahi et al. 2023 (arXiv 2309.12927) and its code. Departures: bits are fair; a
second exponential must exceed the noise (there AIC alone decides); time constants are at most ten
times the largest lag (there: 100 steps at 30 lags); two weights may exceed 1 together.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from plasticity.experiments.probing.plateau import half_life, mean_keeps
from plasticity.learner import Hyperparameters, Learner, RandomStream
from plasticity.memory import ENGINES
from plasticity.model.recurrent import State
from plasticity.network import Network, NetworkState, Parameters
from plasticity.pieces import initial_state
from plasticity.randomness import stream_key
from plasticity.types import Array
from plasticity.unroll import run_episodes

BURN_IN = 500  # steps before the first one that counts, in which the state forgets that it was zero
TINY = 1e-10  # what counts as 0: a variance over the mean square, a mean squared residual
NOISE = 5  # standard errors that the weight of a slower exponential exceeds
STARTS = ((0.25,), (0.07, 0.5))  # of time constants, as shares of the largest lag
SHORTEST, LONGEST = 0.01, 10  # time constants: in steps, and times the largest lag


class Decay(NamedTuple):
    """A fit to an autocorrelation."""

    time_scale: float  # in steps, of the slower exponential; nan: the activity is constant
    exponentials: int  # 1 or 2; 0: the activity is constant


class Sizes(NamedTuple):
    """How much is measured."""

    episodes: int = 10  # B, more than 1
    steps: int = 10_000  # T of a stream, after the burn-in
    lags: int = 30  # the largest lag of a fit


def autocovariances(activity: np.ndarray, lags: int) -> np.ndarray:
    """Of each unit in each episode by lag, [B, lags + 1, H], from activity [B, T, H].

    The mean over time is removed per episode. Lag l has T - l products: the mean is over these.
    """
    centred = np.asarray(activity, np.float64)
    centred = centred - centred.mean(1, keepdims=True)
    steps = centred.shape[1]
    products = (centred[:, : steps - lag] * centred[:, lag:] for lag in range(lags + 1))
    return np.stack([product.mean(1) for product in products], 1)


def decay(covariance: np.ndarray, error: float = 0.0) -> Decay:
    """Fits one exponential and the sum of two to an autocovariance [lags + 1]; the better by AIC.

    A sum whose slower exponential weighs less than `NOISE` times `error`, the standard error over
    the value at lag 0, does not count. AIC takes errors at different lags for independent, but a
    long tail may be one error.
    """
    lags = len(covariance) - 1
    lag, values, found = np.arange(lags + 1.0), covariance / covariance[0], []

    def residuals(parameters: np.ndarray) -> np.ndarray:
        weights, scales = parameters.reshape(2, -1)
        return weights @ np.exp(-lag / scales[:, None]) - values

    for starts in STARTS:
        n = len(starts)
        first = [1 / n] * n + [lags * start for start in starts]
        bounds = ([0] * n + [SHORTEST] * n, [1] * n + [LONGEST * lags] * n)
        fit = scipy.optimize.least_squares(residuals, first, bounds=bounds)
        weight, scale = max(fit.x.reshape(2, -1).T, key=lambda pair: pair[1])
        if n == 1 or weight >= NOISE * error:
            aic = 2 * len(first) + len(lag) * np.log(max(np.mean(fit.fun**2), TINY))
            found.append((aic, Decay(float(scale), n)))
    return min(found)[1]


def decays(activity: np.ndarray, lags: int) -> tuple[list[Decay], np.ndarray]:
    """The decay of each unit, and autocovariances [lags + 1, H], from activity [B, T, H], B > 1."""
    single = autocovariances(activity, lags)
    mean, errors = single.mean(0), single.std(0, ddof=1).mean(0) / len(single) ** 0.5
    # Beside all units: a silent leaky unit decays for ever.
    moving = mean[0] > TINY * np.square(activity, dtype=np.float64).mean()
    units = zip(mean.T, errors, moving, strict=True)
    return [decay(own, e / own[0]) if m else Decay(np.nan, 0) for own, e, m in units], mean


def states_after(network: Network, params: Parameters, inputs: Array) -> Array:
    """The states of a recurrent network after each step of B episodes, [B, T, states * H]."""
    # Nothing but the states is kept: step by step, with the engine whose memory does not grow.
    network = network._replace(memory=ENGINES["dense"](0, network.rule.form))

    def body(state: NetworkState, x: Array) -> tuple[NetworkState, Array]:
        after = run_episodes(network, params, x[:, None], state=state).state
        return after, after.past.value[:, -1]

    start = initial_state(network, params, len(inputs))
    _, states = jax.lax.scan(body, start, jnp.swapaxes(inputs, 0, 1))
    return jnp.swapaxes(states, 0, 1)


class TimeScales:
    """Measures one network, that of a seed.

    Args:
      learner, hyper: of the run.
      units: H, of a recurrent cell; what else its state holds is not activity.
      sizes: how much is measured.

    Attributes:
      recurrent: whether a cell runs on tokens or vectors. writes: whether anything is written.
    """

    def __init__(self, learner: Learner, hyper: Hyperparameters, units: int, sizes: Sizes):
        self._learner, self._units, self._sizes = learner, units, sizes
        self._hyper = jax.tree.map(jnp.asarray, hyper)
        network = learner.make_network(self._hyper)
        stateful = isinstance(network.backbone.blank(1, jnp.float32), State)
        self.recurrent = stateful and learner.task.image is None
        self.writes = bool(network.layers or network.sites)
        self._activity, self._kept = jax.jit(self._active), jax.jit(self._half_lives)

    def measure(self, params: Parameters, seed: Array) -> dict[str, Any]:
        """As `experiments.timescales` describes; NaN: a constant unit, inf: all is kept."""
        found: dict[str, Any] = self._kept(params, seed) if self.writes else {}
        if not self.recurrent:
            return found
        if "leak" in params.slow["params"]:
            found["time_constant"] = 1 / jax.nn.sigmoid(params.slow["params"]["leak"])
        activity, lags = np.asarray(self._activity(params, seed)), self._sizes.lags
        scales, counts = zip(*decays(activity, lags)[0], strict=True)
        (whole,), covariance = decays(activity.sum(-1, keepdims=True), lags)
        return found | {
            "network_time_scale": np.array(scales),
            "exponentials": np.array(counts),
            "population_time_scale": whole.time_scale,
            "population_autocovariance": covariance[:, 0],
        }

    def _active(self, params: Parameters, seed: Array) -> Array:
        """[B, T, H] on tokens that are drawn evenly without 0, which pads, or on normal vectors."""
        task, key = self._learner.task, stream_key(seed, RandomStream.TEST)
        shape = (self._sizes.episodes, BURN_IN + self._sizes.steps)
        if task.tokens:
            inputs = jax.random.randint(key, shape, 1, task.inputs)
        else:
            inputs = jax.random.normal(key, (*shape, task.inputs))
        states = states_after(self._learner.make_network(self._hyper), params, inputs)
        return states[:, BURN_IN:, : self._units]

    def _half_lives(self, params: Parameters, seed: Array) -> dict[str, Array]:
        """On training episodes of the task."""
        index, step = jnp.arange(self._sizes.episodes), jnp.zeros((), jnp.int32)
        drawn = self._learner.episodes(seed, RandomStream.TRAIN, step, index, self._hyper.data)
        trace = run_episodes(self._learner.make_network(self._hyper), params, drawn.inputs)
        # As in telemetry: without the axes of episodes, steps and heads the rule has no keep.
        keeps = [t.keep.mean() for t in trace.tokens.values() if jnp.ndim(t.keep) > 2]
        found = {"half_life_sites": half_life(jnp.stack(keeps))} if keeps else {}
        return found | ({"half_life": half_life(mean_keeps(trace.writes))} if trace.writes else {})
