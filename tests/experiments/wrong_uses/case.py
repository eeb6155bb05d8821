"""One wrong use of a program, and what it must say."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple


class Case(NamedTuple):
    """`experiments.PROGRAM` with `args` must exit with `code` and print a match of `says`.

    The message is on stderr, without a traceback. "{tmp}" in an argument or in a value of `env`
    stands for a temporary folder, which `setup(tmp)` prepares first.
    """

    program: str
    args: tuple[str, ...]
    says: str
    code: int = 2
    setup: Callable[[pathlib.Path], None] | None = None
    env: dict[str, str] = {}  # noqa: RUF012  (a NamedTuple's defaults are shared; nobody writes)
