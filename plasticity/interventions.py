"""Interventions on a plastic network: what if it had not written there, or always as strongly?

Each returns what `Network.intervention` takes; a network under it is an ordinary network:

    network._replace(intervention=silence({"block_0/fc1": jnp.arange(T) >= 5}))
"""

from collections.abc import Mapping

import jax.numpy as jnp

from plasticity.network import Intervention
from plasticity.types import Array, Write


def silence(where: Mapping[str, Array]) -> Intervention:
    """Nothing is written, and nothing forgotten, in some layers at some steps.

    Args:
      where: {layer: [T], true where it is silent}; layers that are not named write as ever.
    """

    def change(writes: dict[str, Write], t: Array) -> dict[str, Write]:
        return writes | {name: _silenced(writes[name], silent[t]) for name, silent in where.items()}

    return change


def _silenced(write: Write, silent: Array) -> Write:
    return write._replace(
        rate=jnp.where(silent, 0, write.rate), keep=jnp.where(silent, 1, write.keep)
    )


def hold(rates: Mapping[str, Array], keeps: Mapping[str, Array]) -> Intervention:
    """Every step writes at the same rate and keeps the same share: nothing is gated.

    Args:
      rates, keeps: {layer: [] or [O]}, in place of `Write.rate` and `Write.keep`.
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
