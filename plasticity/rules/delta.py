"""The delta rule: a write corrects what the fast weights already say.

  feed-forward site  delta_t = (slow_t - recall_t) right_t^T
                     w_{t+1} = keep_t w_t + eta_t alpha * delta_t
  memory site        M <- M diag(keep);   M <- M + rate (value - M key) key^T

slow_t is the output of the layer without its fast part, recall_t the fast part: the fast weights
learn to say what the slow weights say. right_t is pre_t / ||pre_t||^2 or, if not `normalise_pre`,
pre_t. eta_t and keep_t are those of the other rules. At a feed-forward site keep_t depends on the
size of delta_t, so the error is taken at the undecayed state; at a memory site keep is given, and
it is taken at the decayed one. A keep of 1 is the delta rule, a scalar the gated delta rule, one
per input KDA. With one per output, M <- diag(keep) M.

Source: Widrow and Hoff 1960; as a memory Schlag et al. 2021 (arXiv 2102.11174), gated Yang et al.
2024 (arXiv 2412.06464), per channel Kimi Team 2025 (arXiv 2510.26692). Departure: keys of a memory
site are used as they are; the sources normalise them before.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from plasticity.rules.settings import (
    RuleSettings,
    check_one_episode,
    init_synapses,
    rate_and_keep,
)
from plasticity.types import (
    Activity,
    Array,
    Form,
    Key,
    LayerShape,
    Plasticity,
    Read,
    Rule,
    Site,
    Token,
    Write,
)


def delta(settings: RuleSettings = RuleSettings()) -> Rule:
    """The rule."""

    def init(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
        del head
        return Plasticity(init_synapses(key, shapes, settings), projection=None)

    right = _over_square if settings.normalise_pre else (lambda pre: pre)

    def write(
        theta: Plasticity, modulator: Array, activities: Mapping[str, Activity]
    ) -> dict[str, Write]:
        del theta
        check_one_episode(modulator, activities)
        deltas = {name: (a.value - a.recall, right(a.pre)) for name, a in activities.items()}
        rate, keep = rate_and_keep(deltas, modulator, settings)
        return {name: Write(left, right, rate, keep) for name, (left, right) in deltas.items()}

    site = Site(functools.partial(_associate, settings.keep_per))
    return Rule(init, write, form=Form(settings.keep_per), site=site)


def _associate(keep_per: str, token: Token, read: Read) -> Write:
    keep = token.keep
    kept = keep * read(token.key) if keep_per == "output" else read(keep * token.key)
    error = token.value - kept
    return Write(error, token.key, token.rate, token.keep)


def _over_square(pre: Array) -> Array:
    """pre / ||pre||^2: at a rate of 1 the corrected layer says exactly what it should."""
    largest = jax.lax.stop_gradient(jnp.abs(pre).max(initial=0.0))  # whose square may overflow
    unit = pre / jnp.where(largest > 0, largest, 1)
    return unit / jnp.where(largest > 0, (unit @ unit) * largest, 1)
