"""Networks that explode while every number stays finite, so that nothing stops their training."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# A loss that is so many times the first one has left every scale of the task.
FACTOR = 100.0


class Explosions:
    """Compares the loss of each seed with its first one, over the rows of metrics.jsonl.

    Where a curriculum makes the task harder, the loss rises by itself: the first loss of a stage
    counts too, if it is larger and the network had not exploded before.

    Args:
      seeds: their numbers.
      rows: of the launches before.
      stage: (number of updates before) -> what tells the stages of a curriculum apart.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        rows: Iterable[Mapping[str, Any]],
        stage: Callable[[int], Any] = lambda step: None,
    ):
        self._seeds, self._stage = seeds, stage
        self._first: dict[int, float] = {}  # {seed: loss of its first row}
        self._at: dict[int, Any] = {}  # {seed: stage of its last row}
        self._calm = dict.fromkeys(seeds, 0)  # {seed: step of its last row that had not exploded}
        self._told: set[int] = set()
        self._exploded: set[int] = set()  # seeds whose last row had
        for row in rows:
            if row["split"] == "train" and row["loss"] is not None:
                self._see(row["step"], row.get("seed", seeds[0]), row["loss"])

    def _see(self, step: int, seed: int, loss: float) -> bool:
        if not math.isfinite(loss):  # it has diverged, which is told elsewhere
            return False
        # The row of a step tells the loss before its update.
        stage, before = self._stage(step - 1), self._at.get(seed)
        self._at[seed] = stage
        if stage != before and seed not in self._exploded:
            self._first[seed] = max(self._first.get(seed, loss), loss)
        exploded = self._is(seed, loss)
        (self._exploded.add if exploded else self._exploded.discard)(seed)
        if not exploded:
            self._calm[seed] = step
        return exploded

    def _is(self, seed: int, loss: float) -> bool:
        return loss > FACTOR * self._first.setdefault(seed, loss)

    def see(self, step: int, losses: Sequence[float]) -> list[str]:
        """Takes the losses of a logged step, one per seed.

        Returns:
          A message for each seed that exploded, once.
        """
        messages = []
        for seed, loss in zip(self._seeds, losses, strict=True):
            if self._see(step, seed, loss) and seed not in self._told:
                self._told.add(seed)
                messages.append(
                    f"warning: step {step}, seed {seed}: the loss {loss:.3g} is more than "
                    f"{FACTOR:.0f} times the first one that was logged, {self._first[seed]:.3g}, "
                    "though every number is finite. The network goes on, and may recover."
                )
        return messages

    def after(self, test_losses: Sequence[float] | None) -> dict[int, int]:
        """{index: the last logged step before it} of the seeds whose final network exploded.

        Args:
          test_losses: of each seed. None: the last logged losses decide. So after a stream of
            tasks, where the test is of all tasks, and those forgotten have a high loss as well.
        """
        if test_losses is None:
            exploded = [seed in self._exploded for seed in self._seeds]
        else:
            exploded = list(map(self._is, self._seeds, test_losses))
        return {i: self._calm[seed] for i, seed in enumerate(self._seeds) if exploded[i]}
