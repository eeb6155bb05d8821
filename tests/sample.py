"""The default suite runs a sample of a large table of cases; other marks select the others."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def sampled(
    cases: Iterable[Any], by_default: Callable[[Any], bool], otherwise: str = "slow"
) -> list[Any]:
    """The cases for `parametrize`, of which those not chosen by default are marked `otherwise`.

    A case that is a tuple has one value for each argument.
    """
    return [
        pytest.param(
            *(case if type(case) is tuple else (case,)),
            marks=() if by_default(case) else getattr(pytest.mark, otherwise),
        )
        for case in cases
    ]
