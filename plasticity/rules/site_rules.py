"""What the rules share that have a meaning at memory sites only."""

import dataclasses
from collections.abc import Mapping

from plasticity.settings import Settings
from plasticity.types import Form, Key, LayerShape, Plasticity, Rule, Site


@dataclasses.dataclass(frozen=True)
class SiteSettings(Settings):
    """Settings of such rules. Rates, keeps and gates are the memory layer's."""

    section = "rule"


def site_rule(site: Site, form: Form = Form()) -> Rule:
    """The rule of a site. It has no write at a feed-forward site."""
    return Rule(_nothing, None, form=form, site=site)


def _nothing(key: Key, shapes: Mapping[str, LayerShape], head: int) -> Plasticity:
    """Parameters of plasticity: none."""
    del key, shapes, head
    return Plasticity({}, projection=None)
