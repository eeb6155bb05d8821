"""Plasticity rules. A rule is one file here and one line in `RULES`."""

from plasticity.factory import Factory
from plasticity.rules.credit import credit
from plasticity.rules.delta import delta
from plasticity.rules.gradient import gradient
from plasticity.rules.hebbian import hebbian
from plasticity.rules.none import none
from plasticity.rules.settings import PlasticSettings
from plasticity.types import Rule

RULES: dict[str, Factory[Rule]] = {
    "none": none,
    "hebbian": hebbian,
    "gradient": gradient,
    "delta": delta,
}

__all__ = ["RULES", "PlasticSettings", "credit", "delta", "gradient", "hebbian", "none"]
