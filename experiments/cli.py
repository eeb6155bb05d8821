"""What all programs share: how they start, and errors as one message and an exit code."""

import contextlib
import os
import pathlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import jax
from absl import flags

from plasticity.checks import PlasticityError
from plasticity.commands import command
from plasticity.data import DataError
from plasticity.experiments.commandline import define_config as define_config
from plasticity.experiments.commandline import flag_message, parse
from plasticity.experiments.commandline import given_config as given_config
from plasticity.experiments.commandline import require as require
from plasticity.experiments.configfile import OWN
from plasticity.experiments.run import processor
from plasticity.experiments.run.hosts import PeerError
from plasticity.experiments.run.storage import (
    CheckpointError,
    WorkdirError,
    check_folder,
    path_of,
)
from plasticity.experiments.validate import ConfigError

USAGE_ERROR = 2  # the command or the config is wrong: nothing was started
RUN_ERROR = 1  # the run itself failed
USER_ERRORS = (ConfigError, WorkdirError, DataError, PeerError)
RUN_ERRORS = (PlasticityError, CheckpointError, OSError)
flags.DEFINE_bool("traceback", False, "for developers: show where an error was raised")
KEEP_MEMORY = flags.DEFINE_bool(
    "keep_freed_memory", True, "glibc: keep freed memory in the process, which is faster"
)


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits with the code that it returns."""
    code = _guarded(main)
    threads = [thread for thread in threading.enumerate() if not thread.daemon]
    if code and len(threads) > 1:  # of a library that failed: Python would wait for them
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _guarded(main: Callable[[], int | None]) -> int:
    try:
        if parse(main.__globals__["__doc__"]):
            return 0
        processor.prepare(KEEP_MEMORY.value)
        code = main() or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:  # outside training, which handles it itself
        return 128 + signal.SIGINT
    except Exception as error:
        if "--traceback" in sys.argv:
            traceback.print_exc()
        message, code = _verdict(error)
        print(f"error: {message}", file=sys.stderr)
        workdir = flags.FLAGS["workdir"].value if "workdir" in flags.FLAGS else None
        again = code != USAGE_ERROR and not _place_in_own_file(error)
        if again and workdir and os.path.isdir(os.path.expanduser(workdir)):
            resume = command(pathlib.Path(sys.argv[0]).stem, *sys.argv[1:])
            print(f"to resume: {resume}", file=sys.stderr)
        sys.stderr.flush()
        return code


def _verdict(error: Exception) -> tuple[str, int]:
    """The message and the exit code of an error."""
    first = next(iter(str(error).splitlines()), type(error).__name__)[:200]
    if isinstance(error, OSError) and not error.filename and (problem := _stdout_problem()):
        code = 128 + signal.SIGPIPE if isinstance(error, BrokenPipeError) else RUN_ERROR
        return f"standard output cannot be written: {problem}", code
    if processor.is_device_error(error):
        given = f"JAX_PLATFORMS={jax.config.jax_platforms or ''}"
        hint = "is not available here: unset it, or use JAX_PLATFORMS=cpu"
        return f"{given} {hint} ({first})", USAGE_ERROR
    if isinstance(error, flags.Error):
        return flag_message(error), USAGE_ERROR
    if isinstance(error, USER_ERRORS + RUN_ERRORS):
        return str(error), USAGE_ERROR if isinstance(error, USER_ERRORS) else RUN_ERROR
    if processor.is_out_of_memory(error):
        hint = "a smaller train.microbatch, train.batch or model needs less"
        return f"out of memory: {hint} ({first})", RUN_ERROR
    hint = _place_in_own_file(error) or "--traceback shows where it was raised"
    return f"unexpected {type(error).__name__}: {first} ({hint})", RUN_ERROR


def _place_in_own_file(error: Exception) -> str:
    """Where in a config file of the user an error was raised, or ""."""
    files = {module.__file__ for name, module in sys.modules.items() if name.startswith(OWN)}
    places = [
        f"in {frame.filename}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in files
    ]
    return places[-1] if places else ""


def _stdout_problem() -> str:
    """Why standard output cannot be written, or ""."""
    try:
        print(flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or exiting fails, too
        return error.strerror or str(error)
    return ""


def local_path(flag: str, value: str) -> pathlib.Path:
    """The value of --FLAG; `~` is the home folder.

    Raises:
      ConfigError: the path is not local, or no value was given.
    """
    require(**{flag: value})
    if "://" in value:
        raise ConfigError(f"--{flag}={value} must be a local path")
    return path_of(flag, value)


def new_path(flag: str, value: str) -> pathlib.Path:
    """The value of --FLAG, a file or folder to be written; makes the folder that it lies in.

    Call it after all other checks and before the work.

    Raises:
      ConfigError: something is there already, or as `local_path`.
      WorkdirError: nothing can be written there.
    """
    path, given = local_path(flag, value), f"--{flag}={value}"
    if value.endswith("/") or os.path.isdir(path):
        raise ConfigError(f"{given} is a folder: name a new file, such as {path / 'new'}")
    if os.path.lexists(path):
        raise ConfigError(f"{given} exists, and nothing is overwritten: choose another name")
    check_folder(flag, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{given} cannot be written: {error}") from error
    return path
