"""Checkpoints of a training run: the whole of Orbax that the project touches."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp


class Checkpoints:
    """Numbered checkpoints {state: pytree of arrays, clock: dict of numbers} in a folder.

    Saving is asynchronous and atomic: a checkpoint that a kill interrupts does not exist. An error
    of a save that is under way surfaces at the next call.
    """

    def __init__(self, directory: pathlib.Path, keep: int):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(directory, options=options)

    def latest(self) -> int | None:
        """The newest step that was saved, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, clock: dict[str, float]) -> None:
        """Saves unless `step` is saved already. Arrays may be donated once this returns."""
        if step == self.latest():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), clock=ocp.args.JsonSave(clock)
            ),
        )

    def restore(self, like: Any) -> tuple[Any, dict[str, float]]:
        """The newest checkpoint, with the structure, shapes and dtypes of `like`.

        It is put on this process's first device, whatever kind of device it was saved from.
        """
        here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), like
        )
        restored = self._manager.restore(
            self.latest(),
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target), clock=ocp.args.JsonRestore()
            ),
        )
        return restored.state, restored.clock

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()
