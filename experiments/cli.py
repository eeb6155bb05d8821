"""What all programs share: flags, help, and errors as one message and an exit code."""

import contextlib
import difflib
import os
import pathlib
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from logging import CRITICAL, getLogger
from typing import Any, NamedTuple

import jax
from absl import flags, logging
from ml_collections import ConfigDict

from configs import base
from experiments import usage
from experiments.configfile import EXAMPLE, fields_of, load_config, set_field, suggestion
from experiments.run import processor
from experiments.run.checkpoint import CheckpointError
from experiments.run.hosts import PeerError
from experiments.run.workdir import WorkdirError
from experiments.validate import ConfigError
from plasticity.checks import PlasticityError
from plasticity.data import DataError

USAGE_ERROR = 2  # the command or the config is wrong: nothing was started
RUN_ERROR = 1  # the run itself failed
USER_ERRORS = (ConfigError, WorkdirError, DataError, PeerError, flags.Error)
RUN_ERRORS = (PlasticityError, CheckpointError, OSError)

flags.DEFINE_bool("help", False, "show this text", short_name="h")
flags.DEFINE_bool("helpfull", False, "show this text, and the flags of all libraries")
flags.DEFINE_bool("list", False, "list tasks, rules, engines and models")
flags.DEFINE_bool("traceback", False, "for developers: show where an error was raised")
KEEP_MEMORY = flags.DEFINE_bool(
    "keep_freed_memory", True, "glibc: keep freed memory in the process, which is faster"
)
_overrides: list[tuple[str, str | None]] = []  # (FIELD, VALUE) of every --config.FIELD=VALUE


class GivenConfig(NamedTuple):
    """What --config and --config.FIELD=VALUE give.

    Attributes:
      file: of the config. argument: what follows its colon; "": nothing.
      overrides: {dotted field: value}.
      config: with the overrides.
    """

    file: str
    argument: str
    overrides: dict[str, Any]
    config: ConfigDict


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits with the code that it returns."""
    code = _guard(main)
    waiting = [
        t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()
    ]
    if code and waiting:  # threads of a library that failed: Python would wait for them
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _guard(main: Callable[[], int | None]) -> int:
    try:
        if _parse(main):
            return 0
        _prepare_process()
        code = main() or 0
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        if "--traceback" in sys.argv:
            traceback.print_exception(error)
        return _complain(error, main)


def _complain(error: BaseException, main: Callable) -> int:
    """Prints what an error means to the user: the exit code."""
    if isinstance(error, KeyboardInterrupt):  # outside training, which handles it itself
        return 128 + signal.SIGINT
    if isinstance(error, OSError) and not error.filename and (problem := _stdout_problem()):
        _say(f"standard output cannot be written: {problem}", RUN_ERROR)
        code = 128 + signal.SIGPIPE if isinstance(error, BrokenPipeError) else RUN_ERROR
    elif processor.is_device_error(error):
        code = _say(f"JAX finds no device ({_first_line(error)}). {processor.platforms_hint()}", 2)
    elif isinstance(error, USER_ERRORS):
        code = _say(_flag_message(error) if isinstance(error, flags.Error) else error, USAGE_ERROR)
    elif isinstance(error, RUN_ERRORS):
        code = _say(error, RUN_ERROR)
    elif processor.is_out_of_memory(error):
        code = _say(f"out of memory ({_first_line(error)}). {processor.MEMORY_HINT}", RUN_ERROR)
    else:
        what = f"{type(error).__name__}: {_first_line(error)}"
        code = _say(f"unexpected {what}. --traceback shows where it was raised", RUN_ERROR)
    workdir = flags.FLAGS["workdir"].value if "workdir" in flags.FLAGS else None
    if code != USAGE_ERROR and workdir and pathlib.Path(workdir).expanduser().is_dir():
        print(f"to resume: {command(_module(main), *sys.argv[1:])}", file=sys.stderr)
    return code


def _say(message: object, code: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _stdout_problem() -> str:
    """Why standard output cannot be written, or ""."""
    try:
        print(flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or exiting fails, too
        return error.strerror or str(error)
    return ""


def _prepare_process() -> None:
    """Settings of JAX and of its libraries, before JAX looks for devices."""
    processor.check_xla_flags()
    processor.use_all_cores()
    if KEEP_MEMORY.value:
        processor.keep_freed_memory()
    logging.set_verbosity(logging.WARNING)  # Orbax reports every file at a lower level
    # Orbax logs every error with its traceback before it raises it, and leaves others of the same
    # cause to the event loop. The program prints the one that is raised.
    logging.get_absl_logger().addFilter(
        lambda record: not (record.exc_info and "orbax" in record.pathname)
    )
    getLogger("asyncio").setLevel(CRITICAL)
    # Writes of a failed save end after its event loop, and TensorStore reports that.
    sys.unraisablehook = _unless_of_a_closed_loop
    if not jax.config.jax_compilation_cache_dir:
        _use_cache(cache_directory() / "compiled")
    # The default leaves out what compiles within a second: there are many of those in a launch.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _unless_of_a_closed_loop(error: Any) -> None:
    if str(error.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(error)


def cache_directory() -> pathlib.Path:
    """Where compiled programs are kept between runs: PLASTICITY_CACHE_DIR, or the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    default = pathlib.Path(user) / "plasticity"
    return pathlib.Path(os.environ.get("PLASTICITY_CACHE_DIR") or default).expanduser()


def _use_cache(folder: pathlib.Path) -> None:
    try:
        _make_writable(folder)
    except OSError as error:
        print(f"compiling without a cache (PLASTICITY_CACHE_DIR): {error}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _make_writable(folder: pathlib.Path) -> None:
    """Makes a folder; raises OSError unless files can be made in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} is not writable")


def new_path(flag: str, value: str) -> pathlib.Path:
    """The value of --FLAG, a file or folder to be written; makes the folder that it lies in.

    Call it after all other checks and before the work.

    Raises:
      ConfigError: something is there already, nothing can be written there, or no value was given.
    """
    require(**{flag: value})
    path = pathlib.Path(value).expanduser()
    given = f"--{flag}={value}"
    if "://" in value:
        raise ConfigError(f"{given} must be a local path")
    if value.endswith("/") or path.is_dir():
        raise ConfigError(f"{given} is a folder: name a new file, such as {path / 'new'}")
    try:
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
            raise ConfigError(f"{given} exists, and nothing is overwritten: choose another name")
        _make_writable(path.parent)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(f"{given} cannot be written: {error}") from error
    return path


def define_config() -> flags.FlagHolder:
    """The flag --config=FILE.py[:ARGUMENT], of which each field is a flag --config.FIELD=VALUE."""
    return flags.DEFINE_multi_string(
        "config", [], f"config file, and what its get_config takes: {EXAMPLE}"
    )


def config_value(holder: flags.FlagHolder) -> ConfigDict:
    """The config that --config and --config.FIELD=VALUE give.

    Raises:
      ConfigError: as `given_config`.
    """
    return given_config(holder).config


def given_config(holder: flags.FlagHolder) -> GivenConfig:
    """What --config and --config.FIELD=VALUE give.

    Raises:
      ConfigError: --config is missing, its file is no config file, or an override does not fit.
    """
    require(config=next(iter(holder.value or []), None))
    chosen, *others = holder.value
    if any(other != chosen for other in others):
        raise ConfigError(f"--config is given twice: {chosen} and {others[-1]}. Drop one")
    if chosen.startswith("-"):
        raise ConfigError(f"--config has no file, but is followed by {chosen}")
    file, _, argument = chosen.partition(":")
    config = load_config(file, argument or None)
    for field, text in _overrides:
        set_field(config, field, text)
    try:
        config = config.copy_and_resolve_references()
    except Exception as error:  # a field that the file leaves for the command line to fill
        raise ConfigError(f"--config={chosen}: {_first_line(error)}") from error
    values = dict(fields_of(config))
    return GivenConfig(file, argument, {field: values[field] for field, _ in _overrides}, config)


def require(**values: object) -> None:
    """Raises ConfigError unless every flag has a value."""
    for name, value in values.items():
        if value is None or value == "":
            known = name in flags.FLAGS
            what = f": {usage.help_of(flags.FLAGS[name])}" if known else ""
            raise ConfigError(f"--{name} is missing{what}. --help shows all flags")


def command(module: str, *arguments: str) -> str:
    """The command line that runs a module with the Python of this process."""
    python = pathlib.Path(sys.executable)
    if python.is_relative_to(pathlib.Path.cwd()):
        python = python.relative_to(pathlib.Path.cwd())
    return shlex.join([str(python), "-m", module, *arguments])


def config_command(
    holder: flags.FlagHolder, module: str, argument: str, *extra: str, drop: str
) -> str:
    """The command that runs a module on this config under another rule.

    Args:
      holder: of the flag --config.
      module: to run.
      argument: rule, in place of the one behind the colon of --config.
      extra: further arguments.
      drop: section whose overrides are left out.
    """
    given = given_config(holder)
    task, slash, _ = given.argument.rpartition("/")
    overrides = [
        f"--config.{field}={value}"
        for field, value in given.overrides.items()
        if not field.startswith(f"{drop}.")
    ]
    return command(module, f"--config={given.file}:{task}{slash}{argument}", *extra, *overrides)


def _module(main: Callable) -> str:
    spec = main.__globals__.get("__spec__")
    return spec.name if spec else main.__module__


def _parse(main: Callable) -> bool:
    """Parses the command line; True if it asks for a text, which is printed.

    Raises:
      ConfigError: an unknown flag, or an argument that is none. flags.Error: a value that is wrong.
    """
    flags.FLAGS.set_gnu_getopt()
    argv = flags.FLAGS.read_flags_from_files(sys.argv)
    unknown = flags.FLAGS(argv, known_only=True)[1:]
    _overrides.clear()
    while unknown:
        word = unknown.pop(0)
        match = re.fullmatch(r"--?(no)?config\.([^=]*)(?:=(.*))?", word, re.DOTALL)
        if not match or "config" not in flags.FLAGS:
            raise ConfigError(_unknown(word))
        negated, field, value = match.groups()
        if value is None and not negated and unknown and not unknown[0].startswith("--"):
            value = unknown.pop(0)  # --config.FIELD VALUE
        _overrides.append((field, "false" if negated else value))
    if flags.FLAGS.list:
        print(usage.listing())
    elif flags.FLAGS.help or flags.FLAGS.helpfull:
        print(usage.text(main.__globals__["__doc__"], _own_flags(), _shown_config()))
        print(flags.FLAGS.get_help() if flags.FLAGS.helpfull else "", end="")
    else:
        return False
    sys.stdout.flush()
    return True


def _own_flags() -> list[flags.Flag]:
    """The flags of this program and of this module, not those of libraries."""
    own = flags.FLAGS.flags_by_module_dict()
    found = [*own.get(sys.argv[0], []), *own.get(__name__, [])]
    return sorted(found, key=lambda flag: flag.name != "config")


def _shown_config() -> ConfigDict | None:
    """The config whose settings --help shows; None: this program takes no config."""
    if "config" not in flags.FLAGS:
        return None
    return given_config(flags.FLAGS["config"]).config if flags.FLAGS.config else base.get_config()


def _unknown(word: str) -> str:
    """What to say of an argument that is no flag of the program."""
    if not word.startswith("-"):
        return f"unexpected argument {word!r}: values are given as --flag=value"
    name = word.lstrip("-").partition("=")[0]
    known = [flag.name for flag in _own_flags()]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    hint = f"did you mean --{close[0]}?" if close else ""
    config = _shown_config()
    if config is not None and not close:
        hint = suggestion(name, [field for field, _ in fields_of(config)])
        hint = hint.replace("config.", "--config.") if hint.startswith("did") else ""
    return f"unknown flag --{name}: {hint or f'flags: {usage.flag_names(known)}'}"


def _flag_message(error: flags.Error) -> str:
    """An error of absl, which repeats what Python says of the value, in words of the flag."""
    match = re.match(r"flag --(\w+)=(.*?): ", str(error), re.DOTALL)
    if not match or match[1] not in flags.FLAGS:
        return str(error)
    parser = flags.FLAGS[match[1]].parser
    choices: Iterable[str] = getattr(parser, "enum_values", [])
    wanted = f"one of {', '.join(choices)}" if choices else parser.syntactic_help
    close = difflib.get_close_matches(match[2], choices, n=1)
    hint = f": did you mean {close[0]!r}?" if close else ""
    return f"--{match[1]}={match[2]} must be {wanted or 'true or false'}{hint}"
