"""A network: its parts, parameters, state within an episode, and the trace of an episode."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity.backbone import Backbone
from plasticity.memory.dense import dense
from plasticity.registry import exportable
from plasticity.shares import Share, reads_of
from plasticity.types import (
    Array,
    DType,
    Key,
    LayerShape,
    Memory,
    Outputs,
    Plasticity,
    PyTree,
    Rule,
    SiteShape,
    Token,
    Write,
)

META_GRADIENTS = ("full", "truncated")

# ({layer: Write} of one step, its position []) -> the writes that are applied instead
Intervention = Callable[[dict[str, Write], Array], dict[str, Write]]


class Network(NamedTuple):
    """A backbone with plastic layers, the rule that writes them, and the memory that holds them.

    Attributes:
      backbone: its slow part.
      rule: what is written to plastic layers.
      memory: the engine that holds their fast weights.
      meta_gradient: "full": the outer gradient flows through every write. "truncated": fast weights
        count as constants, as in the code of Chaudhary 2025; alpha, beta, P and the modulator then
        receive no gradient.
      matmul_precision: of matrix products; a name in `plasticity.unroll.MATMUL_PRECISIONS`.
      intervention: changes writes before they are applied; see `plasticity.interventions`.
      site_rule: the rule at memory sites; a site may have a rule of its own, see `at_site`.
      site_memory: the engine that holds the memories of sites.
      site_writes: whether sites are written; False: their memories stay as an episode starts.
      site_chunk: steps that sites take at once, where all are known; see `plasticity.associate`.
    """

    backbone: Backbone
    rule: Rule
    memory: Memory
    meta_gradient: str = "full"
    matmul_precision: str = "default"
    intervention: Intervention | None = None
    site_rule: Rule | None = None
    site_memory: Memory | None = None
    site_writes: bool = True
    site_chunk: int = 32

    @property
    def layers(self) -> dict[str, LayerShape]:
        """The plastic layers that have a memory; none under a rule that never writes."""
        return {} if self.rule.static else self.backbone.shapes

    @property
    def sites(self) -> dict[str, SiteShape]:
        """The sites that have a memory."""
        shared = self.site_rule is not None and not self.site_rule.static
        own, sites = self.backbone.site_rules, self.backbone.sites
        return {name: site for name, site in sites.items() if shared or name in own}

    def at_site(self, name: str) -> tuple[Rule, Memory]:
        """The rule of a memory site of that name, and the engine that holds its memories."""
        own = self.backbone.site_rules.get(name)
        if own is not None:
            return own, dense(form=own.form)
        assert self.site_rule is not None
        assert self.site_memory is not None
        return self.site_rule, self.site_memory

    @property
    def at_once(self) -> bool:
        """Whether all steps of an episode are computed at once."""
        return not self.layers and (self.backbone.at_once or not self.sites)

    def part(self, devices: int) -> "Network | None":
        """The network of one of the devices that share the layers, inside `jax.shard_map`.

        It takes the device's parts of the parameters, see `plasticity.sharding.shardings`, and is
        run by `plasticity.evaluation.evaluate_episodes`.

        Returns:
          None: the layers are not shared in this way, because there is one device, the backbone
          has no layer that can be shared (levels, recurrent networks), or the writes cannot be, see
          `plasticity.shares.reads_of`. XLA's partitioner then splits what `shard_by` names.
        """
        backbone = self.backbone
        if devices == 1 or backbone.part is None:
            return None
        reads = reads_of(self.rule, backbone.shapes, backbone.head)
        if reads is None:
            return None
        return self._replace(backbone=backbone.part(Share(devices, backbone.shard_by, reads)))


class Parameters(NamedTuple):
    """All parameters that the outer loop learns."""

    slow: PyTree  # slow weights, of the structure that `Backbone.init` returns
    plasticity: Plasticity  # theta, that `Rule.init` returns


class EpisodeState(NamedTuple):
    """State before a step: everything that earlier steps of the episode left."""

    fast: dict[str, Any]  # {plastic layer: FastState, memory site: {layer: FastState} of its heads}
    past: Sequence[PyTree]  # segments, see `Backbone`
    slot: Array | None = None  # [], of the step's writes; None: nothing is written


class StepRecord(NamedTuple):
    """The contribution of one step to the state."""

    writes: dict[str, Write]  # of plastic layers
    site_writes: dict[str, dict[str, Write]]  # {site: {layer: [H, ...]}}
    tokens: dict[str, Token]  # {site: [H, ...]}
    past: PyTree  # an entry of the past
    auxiliary: Array | None = None  # [], `Rule.auxiliary`


class NetworkState(NamedTuple):
    """The state between two pieces of an episode that is run one piece at a time.

    Of B episodes, all leaves but `position` are [B, ...]. Entries are ordered, blank ones first.
    """

    fast: dict[str, PyTree]  # {layer: base of its memory, site: {layer: bases of its heads}}
    past: PyTree  # a segment of the last `Backbone.window` entries, or of all
    ahead: PyTree  # likewise of the entries of `Backbone.prepare`
    position: Array  # [] int32, of the next step; all episodes share it


EPISODES = NetworkState._make((0, 0, 0, None))  # the axis B, for `jax.vmap`


class EpisodeTrace(NamedTuple):
    """Result of an episode, or of a piece of it with T steps."""

    outputs: Outputs  # [T + Q, ...], queries last
    writes: dict[str, Write]  # {layer: [T, ...]}; empty under a static rule
    tokens: dict[str, Token]  # {site: [T, H, ...]}
    state: NetworkState  # after the last step
    auxiliary: Array | None = None  # [T], `Rule.auxiliary`; None: the rule has none


exportable(Parameters, NetworkState, EpisodeTrace)


def init_parameters(network: Network, key: Key) -> Parameters:
    """Draws initial slow weights, in the dtypes of the backbone, and theta, in float32.

    Args:
      network: whose `Backbone.init` and `Rule.init` draw them.
      key: of JAX; slow weights are the same under every rule.
    """
    slow_key, rule_key = jax.random.split(key)
    backbone = network.backbone
    return Parameters(
        backbone.init(slow_key), network.rule.init(rule_key, backbone.shapes, backbone.head)
    )


def float_type(params: Parameters) -> DType:
    """Returns the dtype of the slow weights, in which a network computes; that of JAX if none.

    The entry "params" comes first: beside it there may be a carry that the network starts from
    (`plasticity.own`). Python numbers are skipped, since they have no dtype of their own.
    """
    slow = params.slow
    weights = slow["params"] if isinstance(slow, dict) and "params" in slow else ()
    leaves = jax.tree.leaves((weights, slow))
    dtypes = [leaf.dtype for leaf in leaves if hasattr(leaf, "dtype")]
    return next((d for d in dtypes if jnp.issubdtype(d, jnp.floating)), jnp.result_type(float))


def fast_type(params: Parameters) -> DType:
    """Returns the dtype of fast weights: at least float32, as 1 - .002 is 1 in bfloat16."""
    return jnp.promote_types(float_type(params), jnp.float32)
