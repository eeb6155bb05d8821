"""Plasticity rules. A rule is one file here and one line in `RULES`."""

from plasticity.factory import Factory
from plasticity.rules.comba import comba
from plasticity.rules.credit import credit, pullback
from plasticity.rules.delta import delta
from plasticity.rules.delta_product import delta_product
from plasticity.rules.dgd import dgd
from plasticity.rules.gated_delta import gated_delta
from plasticity.rules.gradient import gradient
from plasticity.rules.hebb import hebb
from plasticity.rules.hebbian import hebbian
from plasticity.rules.kda import kda
from plasticity.rules.level import level
from plasticity.rules.longhorn import longhorn
from plasticity.rules.memora import memora
from plasticity.rules.mesa import mesa
from plasticity.rules.moneta import moneta
from plasticity.rules.none import none
from plasticity.rules.oja import oja
from plasticity.rules.oja_gated import oja_gated
from plasticity.rules.rwkv7 import rwkv7
from plasticity.rules.self_modifying import self_modifying
from plasticity.rules.settings import PlasticSettings
from plasticity.rules.srwm import srwm
from plasticity.rules.synthetic import synthetic
from plasticity.rules.titans import titans
from plasticity.rules.ttt_linear import ttt_linear
from plasticity.rules.ttt_mlp import ttt_mlp
from plasticity.rules.yaad import yaad
from plasticity.types import Rule

RULES: dict[str, Factory[Rule]] = {
    "none": none,
    "hebbian": hebbian,
    "gradient": gradient,
    "synthetic": synthetic,
    "hebb": hebb,
    "delta": delta,
    "gated_delta": gated_delta,
    "kda": kda,
    "comba": comba,
    "delta_product": delta_product,
    "oja": oja,
    "oja_gated": oja_gated,
    "dgd": dgd,
    "longhorn": longhorn,
    "rwkv7": rwkv7,
    "mesa": mesa,
    "srwm": srwm,
    "self_modifying": self_modifying,
    "titans": titans,
    "level": level,
    "ttt_linear": ttt_linear,
    "ttt_mlp": ttt_mlp,
    "moneta": moneta,
    "yaad": yaad,
    "memora": memora,
}


def feed_forward() -> list[str]:
    """The names of the rules that have a meaning at feed-forward sites."""
    return [name for name, rule in RULES.items() if rule().write is not None]


__all__ = ["RULES", "PlasticSettings", "credit", "feed_forward", "pullback", *RULES]
