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

import dataclasses
import functools

import jax
import jax.numpy as jnp

from plasticity.factory import Factory
from plasticity.rules.settings import KEEPS, PlasticSettings, modulated
from plasticity.settings import setting
from plasticity.types import Activity, Array, Form, Read, Rule, Site, Token, Write


@dataclasses.dataclass(frozen=True)
class DeltaSettings(PlasticSettings):
    """Settings of the rule. A feed-forward site forgets only what it corrects."""

    decay_ratio: float = setting(0.0, "keep = 1 - decay_ratio * eta", low=0)
    normalise_pre: bool = setting(True, "write pre / ||pre||^2: a rate of 1 corrects exactly")
    keep_per: str = setting("scalar", "keep of a memory site", choices=KEEPS)


def make(settings: DeltaSettings) -> Rule:
    """The rule."""

    def delta(layer: Activity) -> tuple[Array, Array]:
        right = _over_square(layer.pre) if settings.normalise_pre else layer.pre
        return layer.value - layer.recall, right

    site = Site(functools.partial(_associate, settings.keep_per))
    return modulated(settings, delta, form=Form(settings.keep_per), site=site)


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


delta = Factory(DeltaSettings, make)
