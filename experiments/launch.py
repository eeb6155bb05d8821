r"""Trains or evaluates one config.

python -m experiments.launch --config=configs/copying.py:hebbian --workdir=DIR \
    [--config.model.width=64 ...] [--mode=train|evaluate]

On several hosts, the same command on each with --multihost (see docs/scaling.md).

Exit codes: 0 complete; 1 the run failed; 2 the command or the workdir is wrong; 130 and 143: Ctrl-C
or SIGTERM, everything saved: the same command resumes; 134: another process of the run is gone.
"""

from absl import flags

from experiments import cli
from experiments.run import hosts
from experiments.run.evaluate import evaluate
from experiments.run.train import train
from experiments.validate import validate

CONFIG = cli.define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; made if it is not there")
MULTIHOST = flags.DEFINE_bool("multihost", False, "this process is one of several of one run")
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0")
COUNT = flags.DEFINE_integer("process_count", None, "how many processes")
INDEX = flags.DEFINE_integer("process_index", None, "which of them this is, from 0")
PATIENCE = flags.DEFINE_integer(
    "heartbeat_timeout_seconds", 60, "after so long without a sign of a peer, end", 1
)
MODES = {"train": train, "evaluate": evaluate}
MODE = flags.DEFINE_enum("mode", "train", list(MODES), "what to do")


def main() -> int:
    """Runs the mode, and says how to get the static baseline of a plastic run."""
    config = cli.config_value(CONFIG)
    cli.require(workdir=WORKDIR.value)
    if MULTIHOST.value:
        hosts.join(COORDINATOR.value, COUNT.value, INDEX.value, PATIENCE.value)
    validate(config)
    code = MODES[MODE.value](config, WORKDIR.value)
    if code == 0 and hosts.primary() and MODE.value == "train" and config.rule.name != "none":
        print(f"static baseline: {_baseline_command()}")
    return code


def _baseline_command() -> str:
    """This command with the rule none, in a workdir beside."""
    return cli.config_command(
        "experiments.launch", "none", f"--workdir={WORKDIR.value.rstrip('/')}-none", drop="rule"
    )


if __name__ == "__main__":
    cli.run(main)
