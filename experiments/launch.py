r"""Trains or evaluates one config.

python -m experiments.launch --config=copying:hebbian --workdir=DIR \
    [--config.model.width=64 ...] [--mode=train|evaluate]

On several hosts, the same command on each with --multihost (see docs/howto/hosts.md).

Exit codes: 0 complete; 1 the run failed; 2 the command or the workdir is wrong; 130 and 143: Ctrl-C
or SIGTERM, everything saved: the same command resumes; 134: another process of the run is gone.
"""

import importlib
import pathlib

from absl import flags

from plasticity.commands import command
from plasticity.experiments import cli, unread
from plasticity.experiments.run import hosts
from plasticity.experiments.sweeps.tables import report_hint
from plasticity.experiments.validate import ConfigError, validate

CONFIG = cli.define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; made if it is not there")
MULTIHOST = flags.DEFINE_bool("multihost", False, "this process is one of several of one run")
PLACE = hosts.Place(
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0"),
    flags.DEFINE_integer("process_count", None, "how many processes", 1),
    flags.DEFINE_integer("process_index", None, "which of them this is, from 0", 0),
)
DAY = 24 * 60 * 60
CONNECT = flags.DEFINE_integer(
    "connect_timeout_seconds", 300, "how long to wait for the other processes", 1, DAY
)
HEARTBEAT = flags.DEFINE_integer(
    "heartbeat_timeout_seconds", 60, "end so long after the last sign of another process", 1, DAY
)
# Each is a function in the module of experiments.run of the same name. It is imported only when it
# runs: --help and the refusal of a wrong config need neither Orbax nor SciPy.
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "what to do")


def main() -> int:
    """Runs the mode, and prints what to do next."""
    given = cli.given_config(CONFIG)
    config = given.config
    cli.require(workdir=WORKDIR.value)
    place = hosts.Place(*(flag.value for flag in PLACE))
    if MULTIHOST.value:
        hosts.join(place, CONNECT.value, HEARTBEAT.value)
    for flag in PLACE:
        if flag.present and not MULTIHOST.value:
            raise ConfigError(f"--{flag.name}={flag.value} needs --multihost")
    validate(config, training=MODE.value == "train")
    if MODE.value == "train" and hosts.primary():
        names = f"task {config.task.name}, model {config.model.name}, rule {config.rule.name}"
        print(f"{names}: building the network", flush=True)
        for note in unread.notes(config, given.overrides):
            print(note, flush=True)
    module = importlib.import_module(f"plasticity.experiments.run.{MODE.value}")
    code = getattr(module, MODE.value)(config, WORKDIR.value)
    if code == 0 and MODE.value == "train" and hosts.primary():
        _say_what_is_next(config.rule.name)
    return code


def _say_what_is_next(rule: str) -> None:
    workdir = WORKDIR.value.rstrip("/")
    if rule != "none":
        given = cli.given_config(CONFIG)
        above, slash, last = given.argument.rpartition("/")
        argument = f"{above}{slash}none" if last == rule else given.argument
        changed = {f: v for f, v in given.overrides.items() if not f.startswith("rule.")}
        changed |= {} if last == rule else {"rule.name": "none"}
        baseline = command(
            "launch",
            f"--config={given.file}{':' if argument else ''}{argument}",
            f"--workdir={workdir}-none",
            *(f"--config.{field}={value}" for field, value in changed.items()),
        )
        print(f"static baseline: {baseline}")
    if "://" not in workdir:  # a report reads local folders
        print(report_hint(pathlib.Path(workdir)))


if __name__ == "__main__":
    cli.run(main)
