"""Interventions on a plastic network: silenced writes, and writes at constant rates.

Each function returns a value for `Network.intervention`; all else stays as it is:

    network._replace(intervention=silence({"block_0/fc1": jnp.arange(T) >= 5}))
"""

from collections.abc import Mapping

import jax.numpy as jnp

from plasticity.memory import silenced
from plasticity.network import Intervention
from plasticity.registry import lookup
from plasticity.types import Array, Write


def silence(where: Mapping[str, Array]) -> Intervention:
    """Leaves fast weights unchanged (rate 0, keep 1) in some layers at some steps.

    Args:
      where: {layer: [T] bool}, True at the steps that are silenced. Other layers are not affected,
        nor are steps from T on.

    Raises:
      ValueError: a layer is not plastic; when the intervention is used.
    """

    def change(writes: dict[str, Write], t: Array) -> dict[str, Write]:
        def at_step(name: str, silent: Array) -> Write:
            write = lookup(writes, name, "layer to silence")
            return silenced(write, jnp.asarray(silent).at[t].get(mode="fill", fill_value=False))

        return writes | {name: at_step(name, silent) for name, silent in where.items()}

    return change


def hold(rates: Mapping[str, Array], keeps: Mapping[str, Array]) -> Intervention:
    """Replaces rate and keep of every write by constants, so that the modulator has no effect.

    Args:
      rates: {layer: [] or [O]}, in place of `Write.rate`.
      keeps: {layer: [] or [O]}, in place of `Write.keep`.
    """

    def change(writes: dict[str, Write], t: Array) -> dict[str, Write]:
        del t
        held = {
            name: writes[name]._replace(
                rate=jnp.broadcast_to(rate, writes[name].rate.shape),
                keep=jnp.broadcast_to(keeps[name], writes[name].keep.shape),
            )
            for name, rate in rates.items()
        }
        return writes | held

    return change
