"""Plasticity rules. A rule is one file here and one line in `RULES`: factory(settings) -> Rule."""

from plasticity.rules.gradient import gradient
from plasticity.rules.hebbian import hebbian
from plasticity.rules.none import none
from plasticity.rules.settings import RuleSettings

RULES = {"none": none, "hebbian": hebbian, "gradient": gradient}

__all__ = ["RULES", "RuleSettings", "gradient", "hebbian", "none"]
