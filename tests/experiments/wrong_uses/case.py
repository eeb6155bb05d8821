"""One wrong use of a program, and what it must say."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple


class Case(NamedTuple):
    """`experiments.PROGRAM` with `args` must exit with `code` and print a match of `says`.

    On stderr, without a traceback.

    "{tmp}" in an argument stands for a temporary folder, which `setup(tmp)` prepares first. `env`:
    extra environment variables.
    """

    program: str
    args: tuple[str, ...]
    says: str
    code: int = 2
    setup: Callable[[pathlib.Path], None] | None = None
    env: dict[str, str] = {}  # noqa: RUF012
