"""Checkpoints of a training run: the whole of Orbax that the project touches."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils


class CheckpointError(RuntimeError):
    """Checkpoints cannot be saved, or none can be read."""


class Checkpoints:
    """Numbered checkpoints {state: pytree of arrays, clock: dict of numbers} in a folder.

    Saving is asynchronous and atomic: a checkpoint that a kill interrupts does not exist. An error
    of a save that is under way surfaces at the next call, as a CheckpointError.
    """

    def __init__(self, directory: pathlib.Path, keep: int):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(directory, options=options)
        self._directory = directory

    def latest(self) -> int | None:
        """The newest step that was saved, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, clock: dict[str, float]) -> None:
        """Saves unless `step` is saved already. Arrays may be donated once this returns."""
        if step == self.latest():
            return
        with self._saving():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), clock=ocp.args.JsonSave(clock)
                ),
            )

    def restore(self, like: Any, shardings: Any) -> tuple[Any, dict[str, float]]:
        """The newest checkpoint that can be read; those that cannot are set aside, and told of.

        Args:
          like: structure, shapes and dtypes.
          shardings: where each array goes, whatever devices it was saved from.

        Raises:
          CheckpointError: none can be read.
        """
        target = jax.tree.map(
            lambda leaf, there: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=there),
            like,
            shardings,
        )
        while (step := self.latest()) is not None:
            try:
                restored = self._manager.restore(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardRestore(target), clock=ocp.args.JsonRestore()
                    ),
                )
                return restored.state, restored.clock
            except Exception as error:  # whatever damage leads to
                self._set_aside(step, error)
        raise CheckpointError(f"no checkpoint in {self._directory} can be read")

    def _set_aside(self, step: int, error: Exception) -> None:
        """Moves a checkpoint that cannot be read out of the way of the ones to come."""
        aside = self._directory.with_name(f"{self._directory.name}-damaged")
        if jax.process_index() == 0:
            aside.mkdir(exist_ok=True)
            name = f"{step}-{len(list(aside.glob('*.txt')))}"
            # Before the move, since in a bucket there is no empty folder to move to.
            (aside / f"{name}.txt").write_text(f"{error}\n")
            (self._directory / str(step)).rename(aside / name)
            print(
                f"checkpoint {step} cannot be read ({_first_line(error)}): moved to {aside}, and "
                "the one before is taken",
                file=sys.stderr,
                flush=True,
            )
        multihost_utils.sync_global_devices(f"aside-{step}")
        self._manager.reload()

    def close(self) -> None:
        """Waits until everything is on disk."""
        with self._saving():
            self._manager.wait_until_finished()
            self._manager.close()

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """An error inside, which may be of a save that is under way, becomes one of ours."""
        try:
            yield
        except Exception as error:  # of the file system, by way of Orbax and TensorStore
            raise CheckpointError(
                f"checkpoints cannot be saved in {self._directory}: {_first_line(error)}. What is "
                "there is whole; once there is room, the same command goes on from it."
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [repr(error)])[0][:200]
