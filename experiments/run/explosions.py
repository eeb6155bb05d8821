"""Networks that explode while every number stays finite, so that nothing stops their training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# A loss that is so many times that of the first step has left every scale of the task.
FACTOR = 100.0


class Explosions:
    """Compares the loss of each seed with that of its first step.

    Args:
      seeds: their numbers.
      rows: of metrics.jsonl, of the launches before.
    """

    def __init__(self, seeds: Sequence[int], rows: Iterable[Mapping[str, Any]]):
        self._seeds = seeds
        self._first: dict[int, float] = {}  # {seed: loss of the first step that was logged}
        self._calm = dict.fromkeys(seeds, 0)  # {seed: last step whose loss had not exploded}
        self._told: set[int] = set()
        for row in rows:
            if row["split"] == "train" and row["loss"] is not None:
                self._see(row["step"], row.get("seed", seeds[0]), row["loss"])

    def _see(self, step: int, seed: int, loss: float) -> bool:
        exploded = self._is(seed, loss)
        if not exploded:
            self._calm[seed] = step
        return exploded

    def _is(self, seed: int, loss: float) -> bool:
        return loss > FACTOR * self._first.setdefault(seed, loss)

    def see(self, step: int, losses: Sequence[float]) -> list[str]:
        """Takes the losses of a step, one per seed: a message for each seed that now exploded."""
        messages = []
        for seed, loss in zip(self._seeds, losses, strict=True):
            if self._see(step, seed, loss) and seed not in self._told:
                self._told.add(seed)
                messages.append(
                    f"warning: step {step}, seed {seed}: the loss {loss:.3g} is more than "
                    f"{FACTOR:.0f} times that of the first step, {self._first[seed]:.3g}, though "
                    "every number is finite. The network goes on, and may recover."
                )
        return messages

    def after(self, test_losses: Sequence[float]) -> dict[int, int]:
        """{index: the last step before} of the seeds whose final network has exploded."""
        pairs = enumerate(zip(self._seeds, test_losses, strict=True))
        return {i: self._calm[seed] for i, (seed, loss) in pairs if self._is(seed, loss)}
