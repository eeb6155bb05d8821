"""Which field of a config a user may have meant."""

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str:
    """The dotted name that a user may have meant; "": none is near.

    A name is near by its last part, or by the initials of its words: `train.lr` is near
    `train.learning_rate`, and so is `learningrate`.
    """
    section, _, last = name.rpartition(".")
    by_last: dict[str, str] = {}
    # A field of the same section is the likelier one: `train.batchsize` is not evaluate.batch.
    for other in sorted(known, key=lambda other: other.rpartition(".")[0] != section):
        by_last.setdefault(other.rpartition(".")[2], other)
    initials = {
        "".join(word[:1] for word in other.split("_")): other for other in reversed(by_last)
    }
    close = difflib.get_close_matches(last, by_last, n=1, cutoff=0.65)
    meant = last if last in by_last else initials.get(last) or next(iter(close), "")
    return by_last.get(meant, "")
