"""What every program of this folder shares: flags whose errors help, errors without traceback."""

import os
import pathlib
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from logging import CRITICAL, getLogger
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments.run import processor
from experiments.run.checkpoint import CheckpointError
from experiments.run.hosts import PeerError
from experiments.run.workdir import WorkdirError
from experiments.validate import ConfigError
from plasticity.checks import PlasticityError
from plasticity.data import DataError
from plasticity.registry import nearest

USAGE_ERROR = 2  # the command or the config is wrong: nothing was started
RUN_ERROR = 1  # the run itself failed
USER_ERRORS = (ConfigError, WorkdirError, DataError, PeerError)
RUN_ERRORS = (PlasticityError, CheckpointError, OSError)


def _unless_of_a_closed_loop(error: Any) -> None:
    if str(error.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(error)


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits with the code that it returns."""
    processor.use_all_cores()
    processor.keep_freed_memory()
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at a lower level
    # Orbax logs every error with its traceback before it raises it, and leaves others of the same
    # cause to the event loop: what is raised is told, once.
    logging.get_absl_logger().addFilter(
        lambda record: not (record.exc_info and "orbax" in record.pathname)
    )
    getLogger("asyncio").setLevel(CRITICAL)
    # So do writes of a save that has failed which end after its event loop, by way of TensorStore.
    sys.unraisablehook = _unless_of_a_closed_loop
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "compiled"))
    # The default leaves out what compiles within a second: there are many of those in a launch.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    app.run(lambda argv: _guard(main, argv), flags_parser=_parse)


def cache_directory() -> pathlib.Path:
    """Where compiled programs are kept between runs: PLASTICITY_CACHE_DIR, or the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    default = pathlib.Path(user) / "plasticity"
    return pathlib.Path(os.environ.get("PLASTICITY_CACHE_DIR") or default).expanduser()


def define_config() -> flags.FlagHolder:
    """The flag --config=FILE.py[:ARGUMENT], each of its fields a flag --config.FIELD=VALUE."""
    return config_flags.DEFINE_config_file(
        "config", help_string="config file, such as configs/copying.py:hebbian"
    )


def config_value(holder: flags.FlagHolder) -> ConfigDict:
    """The config that --config names.

    Raises:
      ConfigError: there is none, or its file cannot be read.
    """
    require(config=holder.value)
    try:
        return holder.value.copy_and_resolve_references()
    except OSError as error:  # ml_collections keeps the error of loading until the first access
        raise ConfigError(f"--config cannot be read: {error.__cause__ or error}") from error


def require(**values: object) -> None:
    """Raises ConfigError unless every flag was given."""
    for name, value in values.items():
        if value is None or value == "":
            raise ConfigError(f"--{name} is missing")


def new_path(flag: str, value: str) -> pathlib.Path:
    """The value of --FLAG, where something is going to be written.

    Raises:
      ConfigError: something is there already, or no value was given.
    """
    require(**{flag: value})
    path = pathlib.Path(value)
    if path.exists():
        raise ConfigError(
            f"--{flag}={path} exists, and nothing is overwritten: choose another name"
        )
    return path


def config_command(program: str, argument: str, *extra: str, drop: str) -> str:
    """This command with another config argument: interpreter, file and overrides are kept.

    Args:
      program: module to run.
      argument: what takes the place of the rule behind the colon of --config.
      extra: further arguments.
      drop: the section whose overrides are left out.
    """
    python = pathlib.Path(sys.executable)
    if python.is_relative_to(pathlib.Path.cwd()):
        python = python.relative_to(pathlib.Path.cwd())
    flag = flags.FLAGS["config"]
    file, _, given = config_flags.get_config_filename(flag).partition(":")
    task, slash, _ = given.rpartition("/")
    overrides = [
        f"--config.{field}={value}"
        for field, value in config_flags.get_override_values(flag).items()
        if not field.startswith(f"{drop}.")
    ]
    config = f"--config={file}:{task}{slash}{argument}"
    return shlex.join([str(python), "-m", program, config, *extra, *overrides])


def _guard(main: Callable[[], int | None], argv: Sequence[str]) -> int:
    try:
        if argv[1:]:
            raise ConfigError(f"unexpected argument {argv[1]!r}: values are given as --flag=value")
        return main() or 0
    except USER_ERRORS as error:
        return _complain(error, USAGE_ERROR)
    except RUN_ERRORS as error:
        return _complain(error, RUN_ERROR)
    except KeyboardInterrupt:  # outside training, which handles it itself: nothing to save
        return 128 + signal.SIGINT


def _complain(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return code


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parser; a config that cannot be loaded, or lacks a field, becomes one line."""
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        known = [name for name in flags.FLAGS if name.startswith(error.flagname.split(".")[0][:3])]
        known = known or ["config", "workdir", "mode"]
        sys.exit(_complain(f"unknown flag --{error.flagname}: {nearest(error.flagname, known)}", 2))
    except flags.Error as error:
        sys.exit(_complain(_first_cause(error), USAGE_ERROR))
    except (AttributeError, KeyError) as error:
        sys.exit(_complain(_unknown_field(argv, error), USAGE_ERROR))
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.exit(_complain(error, USAGE_ERROR))


def _first_cause(error: BaseException) -> str:
    """The message of a ValueError in a config file, which comes wrapped in its own traceback."""
    text = str(error)
    last = re.search(r"Error whilst parsing config file.*\nValueError: (.*)$", text.strip(), re.S)
    return last.group(1) if last else text


def _unknown_field(argv: Sequence[str], error: Exception) -> str:
    """ml_collections names the field and its nearest neighbour, but not the flag it came from."""
    match = re.search(r"'(\w+)'", str(error).replace("\\", ""))
    field = match.group(1) if match else ""
    given = [a for a in argv if re.match(rf"--?config\.[^=]*\b{re.escape(field)}\b", a)]
    hint = re.search(r'Did you mean "(\w+)"', str(error))
    suggestion = f": did you mean {hint.group(1)!r}?" if hint else ""
    where = f" in {given[0]}" if given else ""
    return f"{field!r}{where} is not a setting of this config{suggestion}"
