"""Titans: a memory that descends its error with momentum, and forgets.

  S <- momentum S - rate G;   w <- keep w + S,   G the gradient of |f(key; w) - value|^2 / 2

f is linear or a small network; G is taken at the undecayed state or, `frozen`, at the state before
a stretch of tokens, as published. keep is 1 - alpha of the paper; momentum is a gate
in (0, 1).

Source: Behrouz et al. 2024 (arXiv 2501.00663). Departure: its loss has no 1/2, so that its rates
are half of these.
"""

from plasticity.factory import Factory
from plasticity.rules.networks import GradientMemorySettings, gradient_site
from plasticity.rules.site_rules import site_rule
from plasticity.types import KEEP, RATE, Form, Gate, Rule


def make(settings: GradientMemorySettings) -> Rule:
    """The rule."""
    linear = settings.memory == "linear"
    takes = (RATE, KEEP, Gate("momentum", "momentum"))
    site = gradient_site(settings, lambda token, error: error, linear=linear, takes=takes)
    return site_rule(site, Form(momentum=True))


titans = Factory(GradientMemorySettings, make)
