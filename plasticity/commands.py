"""Commands in messages, as they run where this process was started."""

import pathlib
import shlex
import sys


def program(name: str) -> str:
    """The name by which `python -m` runs a program of this project.

    `experiments.NAME` if this process was started under that prefix, as in a clone. Otherwise
    `plasticity.experiments.NAME`, which runs wherever the package can be imported.
    """
    return f"{'' if _in_clone() else 'plasticity.'}experiments.{name}"


def command(name: str, *arguments: str) -> str:
    """The command line that runs a program with the Python of this process."""
    python = pathlib.Path(sys.executable)
    if python.is_relative_to(pathlib.Path.cwd()):
        python = python.relative_to(pathlib.Path.cwd())
    return shlex.join([str(python), "-m", program(name), *arguments])


def install(extra: str) -> str:
    """The command that installs an extra: from a clone, as no index of packages has this one."""
    return f"pip install -e '.[{extra}]'{'' if _in_clone() else ' in a clone of the project'}"


def _in_clone() -> bool:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name.startswith("experiments.")
