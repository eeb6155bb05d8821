"""Where the workers of a sweep run: each is a command line, and ends with an exit code.

local   processes on this machine: one per accelerator, or --workers with a share of the cores each
slurm   jobs, by submitit (extra `slurm`)
ray     tasks of a cluster, by Ray (extra `ray`)
"""

import glob
import importlib
import inspect
import os
import pathlib
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import jax

from plasticity.commands import install
from plasticity.experiments.validate import ConfigError

LOST = -1  # exit code of a worker that something else ended


class Job(NamedTuple):
    """A worker that was started. poll: its exit code, None while it runs. stop: SIGTERM to it."""

    poll: Callable[[], int | None]
    stop: Callable[[], object]


class Executor(Protocol):
    """Starts workers, `slots` at once at most. An executor's further parameters are its options."""

    slots: int

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Starts a worker that appends its output to a file."""


class Local:
    """Processes of this machine, each with an accelerator of its own or a share of the cores."""

    def __init__(self, workers: int, logs: pathlib.Path):
        del logs
        self._accelerators = accelerators()
        self.slots = workers or max(1, len(self._accelerators))
        self._free = list(range(self.slots))

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Starts a process."""
        slot = self._free.pop(0)
        environment = dict(os.environ)
        if self._accelerators:
            device = self._accelerators[slot % len(self._accelerators)]
            environment["CUDA_VISIBLE_DEVICES"] = device
        with log.open("a") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        if not self._accelerators and self.slots > 1 and hasattr(os, "sched_setaffinity"):
            # JAX counts its cores later, when the worker has imported it.
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(process.pid, cores[slot % len(cores) :: self.slots])

        def poll() -> int | None:
            code = process.poll()
            if code is not None and slot not in self._free:
                self._free.append(slot)
            return code

        return Job(poll, process.terminate)


def keeps_apart(executor: str) -> bool:
    """Whether workers run on devices that are not for this process, which is then held to the CPU.

    That is: on another machine, or on accelerators of this one. JAX would occupy those at the first
    look: on NVIDIA most of their memory, on TPUs all, and workers would train on the CPU.
    """
    of_workers = executor != "local" or bool(accelerators()) or bool(_tpus())
    apart = of_workers and os.environ.get("JAX_PLATFORMS") != "cpu"
    if apart:
        jax.config.update("jax_platforms", "cpu")
    return apart


def _tpus() -> list[str]:
    """Files of the TPUs of this machine."""
    return [*glob.glob("/dev/accel*"), *glob.glob("/dev/vfio/[0-9]*")]


def accelerators() -> list[str]:
    """NVIDIA devices that this process may use. JAX is not asked, since it would occupy them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i, line in enumerate(listed.stdout.splitlines()) if "GPU" in line]


def run_command(command: Sequence[str], log: str, folder: str) -> int:
    """Runs a worker's command in a folder of the machine where this is called: its exit code.

    If this is interrupted, as by `ray.cancel`, the worker gets SIGTERM, and time to save.
    """
    with pathlib.Path(log).open("a") as out:
        worker = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
        try:
            return worker.wait()
        except BaseException:
            worker.terminate()
            worker.wait()
            raise


def _remote(ended: Callable[[], object], result: Callable[[], int], stop: Callable) -> Job:
    """A job of a cluster."""

    def poll() -> int | None:
        try:
            return result() if ended() else None
        except Exception:  # submitit and Ray raise errors of their own for a job that died
            return LOST

    return Job(poll, stop)


class Slurm:
    """Jobs of a cluster; `cluster=local` runs them on this machine.

    Other options are those of `submitit.AutoExecutor.update_parameters`.
    """

    def __init__(self, workers: int, logs: pathlib.Path, cluster: str = "slurm", **options: str):
        submitit = importlib.import_module("submitit")
        self.slots = workers or 64
        self._executor = submitit.AutoExecutor(folder=f"{logs}/submitit", cluster=cluster)
        numbers = {k: int(v) if v.isdigit() else v for k, v in options.items()}
        self._executor.update_parameters(**({"timeout_min": 24 * 60} | numbers))

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Submits a job."""
        job = self._executor.submit(run_command, list(command), str(log), os.getcwd())
        return _remote(job.done, job.result, job.cancel)


class Ray:
    """Tasks of a running Ray cluster (`address=auto`), or of one that is started on this machine.

    cpus, gpus: of each worker.
    """

    def __init__(
        self, workers: int, logs: pathlib.Path, address: str = "", cpus: str = "1", gpus: str = "0"
    ):
        del logs
        self._ray = importlib.import_module("ray")
        # Not Ray but the schedule retries: it skips points that are complete.
        options = {"num_cpus": float(cpus), "num_gpus": float(gpus), "max_retries": 0}
        self._run = self._ray.remote(**options)(run_command)
        self._ray.init(address=address or None, log_to_driver=False, ignore_reinit_error=True)
        there = self._ray.cluster_resources()
        takes, kind = (float(gpus), "GPU") if float(gpus) else (float(cpus), "CPU")
        self.slots = workers or max(1, int(there.get(kind, 1) / takes))

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Submits a task."""
        ray, task = self._ray, self._run.remote(list(command), str(log), os.getcwd())
        return _remote(
            lambda: ray.wait([task], timeout=0)[0], lambda: ray.get(task), lambda: ray.cancel(task)
        )


EXECUTORS: dict[str, Callable[..., Executor]] = {"local": Local, "slurm": Slurm, "ray": Ray}


def make_executor(
    name: str, workers: int, logs: pathlib.Path, options: Sequence[str] = ()
) -> Executor:
    """The executor of a name.

    Args:
      name: of `EXECUTORS`. workers: most at once; 0: the executor's own choice.
      logs: folder for the output of workers. options: NAME=VALUE.

    Raises:
      ConfigError: an option is wrong, or a package is not installed.
    """
    flag = f"--executor={name} --executor_options={','.join(options)}"
    pairs = dict(option.partition("=")[::2] for option in options)
    if missing := [option for option, value in pairs.items() if not value]:
        raise ConfigError(f"{flag}: {missing[0]!r} must be NAME=VALUE")
    signature = inspect.signature(EXECUTORS[name])
    try:
        signature.bind(workers, logs, **pairs)
    except TypeError as error:
        takes = ", ".join(list(signature.parameters)[2:]) or "none"
        raise ConfigError(f"{flag}: {error}; {name!r} takes {takes}") from error
    try:
        return EXECUTORS[name](workers, logs, **pairs)
    except ImportError as error:
        needs = f"needs the package {error.name}: {install(name)}"
        raise ConfigError(f"--executor={name} {needs}") from error
    except Exception as error:  # whatever submitit or Ray raise about a setting or a cluster
        raise ConfigError(f"{flag}: {error}") from error
