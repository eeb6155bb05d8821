"""Checkpoints of a training run: the whole of Orbax that the project touches."""

import contextlib
import itertools
import json
import pathlib
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from plasticity.experiments.run.checked import check, is_number
from plasticity.experiments.run.storage import CheckpointError, DamagedFileError, WorkdirError

# What TensorStore reports of files that are missing, too short or do not decode. Other errors, such
# as PERMISSION_DENIED and UNAVAILABLE, may pass: they prove no damage.
DAMAGE = re.compile(r"\b(DATA_LOSS|NOT_FOUND|OUT_OF_RANGE)\b|Error (decoding|parsing)|Invalid JSON")
DAMAGE_ERRORS = (FileNotFoundError, IsADirectoryError, json.JSONDecodeError, UnicodeDecodeError)


class Checkpoints:
    """Numbered checkpoints {state: pytree of arrays, clock: {name: number}} in a folder.

    Saving is asynchronous and atomic: a checkpoint that a kill interrupts does not exist. An error
    of a save that is under way surfaces at the next call, as a CheckpointError. A checksum of the
    state is saved with the clock, because Orbax reads changed values of arrays without an error.
    """

    def __init__(self, directory: pathlib.Path, keep: int | None = None):
        """Opens the folder; `keep`: how many checkpoints are kept; None: nothing is written."""
        self._directory, self._writes = directory, keep is not None
        # Otherwise, if the folder cannot be made, Orbax's threads wait for it for ten minutes.
        at_once = ocp.AsyncOptions(create_directories_asynchronously=False)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, create=self._writes, async_options=at_once
        )
        handlers = {"state": ocp.StandardCheckpointHandler(), "clock": ocp.JsonCheckpointHandler()}
        with self._explained("opened"):
            self._manager = ocp.CheckpointManager(
                directory, options=options, item_handlers=handlers
            )

    def latest(self) -> int | None:
        """The newest step that was saved, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, clock: Mapping[str, Any]) -> None:
        """Saves unless `step` is saved already. Arrays may be donated once this returns.

        `clock`: numbers, and records that their readers check, as JSON.
        """
        if step == self.latest():
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            clock=ocp.args.JsonSave(dict(clock) | {"checksum": _checksum(state)}),
        )
        with self._explained("saved"):
            self._manager.save(step, args=items)

    def restore(
        self, like: Any, shardings: Any, only: int | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The newest checkpoint that is whole, or that of the step `only`: its state and clock.

        Newer ones that are proven to be damaged are reported on stderr and moved to
        `checkpoints-damaged`, unless this object writes nothing. The initial state, step 0, does
        not replace a damaged checkpoint.

        Args:
          like: structure, shapes and dtypes.
          shardings: where each array goes, whatever devices it was saved from.

        Raises:
          WorkdirError: the stored arrays are not those of `like`; the message names the first.
          CheckpointError: none is whole, or the storage failed. Nothing was moved.
        """

        def placed(leaf: Any, there: Any) -> Any:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=there)

        target = jax.tree.map(placed, like, shardings)
        damaged: dict[int, str] = {}
        steps = sorted(self._manager.all_steps(), reverse=True) if only is None else [only]
        for step in steps:
            if damaged and step == 0:
                break
            found, reason = None, "another process found damage in its part"
            try:
                found = self._read(step, target)
            except DamagedFileError as damage:
                reason = str(damage)
            if multihost_utils.process_allgather(np.bool_(found is None)).any():
                damaged[step] = reason
                continue
            for number, why in damaged.items():
                self._set_aside(number, why, step)
            return found
        reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
        raise CheckpointError(
            f"no checkpoint in {self._directory} can be read, and nothing was moved. {reasons}"
        )

    def _read(self, step: int, target: Any) -> tuple[Any, dict[str, Any]]:
        try:
            stored = self._stored(step, target)
            items = ocp.args.Composite(
                state=ocp.args.StandardRestore(stored), clock=ocp.args.JsonRestore()
            )
            restored = self._manager.restore(step, args=items)
        except WorkdirError:
            raise
        except Exception as error:
            if isinstance(error, DAMAGE_ERRORS) or DAMAGE.search(str(error)):
                raise DamagedFileError(_first_line(error)) from error
            raise CheckpointError(
                f"checkpoint {self._directory / str(step)} cannot be read: {_first_line(error)}. "
                "Nothing was moved: its files are not proven to be damaged. The same command tries "
                "again; to go on from an earlier checkpoint, move this one away."
            ) from error
        arrays, clock = _flat(restored.state), restored.clock
        state = jax.tree.unflatten(jax.tree.structure(target), map(arrays.get, _flat(target)))
        check("its clock", clock, dict)
        # Missing in checkpoints of versions without checksums; None in those of several processes.
        found, saved = _checksum(state), clock.pop("checksum", None)
        if None not in (found, saved) and found != saved:
            raise DamagedFileError("the checksum of its arrays is not the one that was saved")
        if not all(is_number(v) or isinstance(v, dict) for v in clock.values()):
            raise DamagedFileError(f"its clock holds {clock}")
        return state, clock

    def _stored(self, step: int, target: Any) -> Any:
        """The target in the structure that was stored, if its arrays are those of the target.

        Orbax converts another dtype silently, and refuses a structure that differs in empty parts:
        a setting that was added since, and is off in this run, is such a part.
        """
        for item in ("state", "clock"):
            if not (self._directory / str(step) / item).is_dir():
                raise FileNotFoundError(f"its folder `{item}` is missing")
        metadata = self._manager.item_metadata(step)["state"]
        if metadata is None:
            raise FileNotFoundError("its metadata is missing")
        stored, wanted = _described(metadata.tree), _described(target)
        wrong = [name for name in wanted | stored if wanted.get(name) != stored.get(name)]
        if wrong:
            name, *others = wrong
            raise WorkdirError(
                f"checkpoint {self._directory / str(step)} does not fit this run: {name} is "
                f"{stored.get(name, 'not stored')}, but must be {wanted.get(name, 'absent')} (and "
                f"{len(others)} other arrays). It was saved by a run of another config or version "
                "of the project. Nothing was moved."
            )
        arrays = _flat(target)
        return jax.tree.unflatten(
            jax.tree.structure(metadata.tree), map(arrays.get, _flat(metadata.tree))
        )

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, which are to be made again."""
        with self._explained("removed"):
            for later in self._manager.all_steps():
                if later > step:
                    self._manager.delete(later)

    def _set_aside(self, step: int, reason: str, whole: int) -> None:
        """Moves a damaged checkpoint out of the way of the ones to come."""
        message = f"checkpoint {step} cannot be read: {reason}. Checkpoint {whole} is taken"
        if self._writes and jax.process_index() == 0:
            aside = self._directory.with_name(f"{self._directory.name}-damaged")
            aside.mkdir(exist_ok=True)
            names = (f"{step}-{count}" for count in itertools.count())
            name = next(name for name in names if not (aside / name).exists())
            # Before the move, since in a bucket there is no empty folder to move to.
            (aside / f"{name}.txt").write_text(f"{reason}\n")
            (self._directory / str(step)).rename(aside / name)
            message += f"; the damaged one is now {aside / name}"
        if jax.process_index() == 0:
            print(message, file=sys.stderr, flush=True)
        multihost_utils.sync_global_devices(f"aside-{step}")
        self._manager.reload()

    def wait(self) -> None:
        """Returns when everything is on disk."""
        with self._explained("saved"):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits; removes the initial state if a later one is there."""
        self.wait()
        with self._explained("saved"):
            if self._writes and self.latest() and 0 in self._manager.all_steps():
                self._manager.delete(0)
            self._manager.close()

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """An error inside, which may be of a save that is under way, becomes one of ours."""
        try:
            yield
        except Exception as error:  # of the file system, by way of Orbax and TensorStore
            raise CheckpointError(
                f"checkpoints cannot be {what} in {self._directory}: {_first_line(error)}. What is "
                "there is whole: once the cause is removed, the same command resumes."
            ) from error


def _flat(tree: Any) -> dict[str, Any]:
    """{path: array} of a tree, in its order."""
    return ocp.tree.to_flat_dict(tree, sep="/")


def _described(tree: Any) -> dict[str, str]:
    """{path: dtype and shape, such as float32[3, 4]} of the arrays of a tree."""
    return {n: f"{np.dtype(a.dtype).name}{list(a.shape)}" for n, a in _flat(tree).items()}


def _checksum(state: Any) -> int | None:
    """CRC-32 of the arrays in the order of their names; None where a process has only parts.

    It takes about 0.25 s per GB on a CPU: less than what Orbax needs to copy them.
    """
    total = 0
    for _, leaf in sorted(_flat(state).items()):
        if not leaf.is_fully_addressable:
            return None
        total = zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8), total)
    return total


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0][:200]
    return line if isinstance(error, OSError) else f"{type(error).__name__}: {line}"
