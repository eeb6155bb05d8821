"""Neuromodulated Hebbian plasticity.

  delta_t = post_t pre_t^T,   eta_t = eta0 sigmoid(g_t) min(1, max_norm / ||delta_t||)
  w_{t+1} = (1 - eta_t) w_t + eta_t alpha * delta_t,   b likewise with beta * post_t

At a memory site, linear attention: M <- keep M + rate value key^T, answer M query; `normalised`
divides the answer by query . z, z <- keep z + rate key (Katharopoulos et al. 2020, arXiv
2006.16236, whose positive feature map is the caller's).

Source: Chaudhary 2025 (arXiv 2510.21908), after Miconi et al. 2018 and Duan et al. 2023.
Departures: none in the forward pass; the outer gradient flows through the writes unless it is
truncated.
"""

from collections.abc import Mapping

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

SUM_EPSILON = 1e-10


def hebbian(settings: RuleSettings = RuleSettings()) -> Rule:
    """The rule; `settings.post` chooses the linear output or the activation as post."""

    def init(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
        del head
        return Plasticity(init_synapses(key, shapes, settings), projection=None)

    def write(
        theta: Plasticity, modulator: Array, activities: Mapping[str, Activity]
    ) -> dict[str, Write]:
        del theta
        check_one_episode(modulator, activities)
        deltas = {
            name: (a.post if settings.post == "linear" else a.activation, a.pre)
            for name, a in activities.items()
        }
        rate, keep = rate_and_keep(deltas, modulator, settings)
        return {name: Write(left, right, rate, keep) for name, (left, right) in deltas.items()}

    site = (
        Site(_associate, prepare=_with_one, answer=_over_sum)
        if settings.normalised
        else Site(_associate)
    )
    return Rule(init, write, form=Form(settings.keep_per), site=site)


def _associate(token: Token, read: Read) -> Write:
    del read
    return Write(token.value, token.key, token.rate, token.keep)


def _with_one(token: Token) -> Token:
    """A further output whose value is 1, which sums the keys."""
    return token._replace(value=jnp.append(token.value, 1))


def _over_sum(recalled: Array, token: Token) -> Array:
    del token
    return recalled[:-1] / (recalled[-1] + SUM_EPSILON)
