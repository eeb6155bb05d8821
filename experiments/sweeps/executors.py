"""Where the workers of a sweep run: each is a command line, and ends with an exit code.

local   processes here: one per accelerator, or as many as asked for with a share of cores each
slurm   jobs, by submitit (extra `slurm`)
ray     tasks of a cluster, by Ray (extra `ray`)
"""

import importlib
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from experiments.validate import ConfigError

LOST = -1  # exit code of a worker that did not end by itself


class Job(Protocol):
    """A worker that was started."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""

    def stop(self) -> None:
        """Asks it to save and end."""


class Executor(Protocol):
    """Starts workers.

    slots: how many may run at once.
    """

    slots: int

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Starts a worker whose output goes to a file."""


class _Process:
    def __init__(self, process: subprocess.Popen, release: Callable[[], None]):
        self._process, self._release = process, release

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._release()
        return code

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)


class Local:
    """Processes of this machine."""

    def __init__(self, workers: int = 0, **options: str):
        _no_more(options, "local")
        self._accelerators = accelerators()
        self.slots = workers or max(1, len(self._accelerators))
        self._free = list(range(self.slots))

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Gives the process an accelerator, or a share of the cores."""
        slot = self._free.pop(0)
        environment = dict(os.environ)
        if self._accelerators:
            device = self._accelerators[slot % len(self._accelerators)]
            environment["CUDA_VISIBLE_DEVICES"] = device
        with log.open("a") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=environment
            )
        if not self._accelerators and self.slots > 1 and hasattr(os, "sched_setaffinity"):
            # Before JAX counts its cores, which takes a worker seconds to come to.
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(process.pid, cores[slot % len(cores) :: self.slots])
        freed = [slot]
        return _Process(process, lambda: self._free.append(freed.pop()) if freed else None)


def accelerators() -> list[str]:
    """NVIDIA devices that this process may use, without asking JAX, which would take them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i, line in enumerate(listed.stdout.splitlines()) if "GPU" in line]


def run_command(command: Sequence[str], log: str, folder: str) -> int:
    """Runs a worker's command in a folder, on whatever machine this is called: its exit code."""
    with pathlib.Path(log).open("a") as out:
        done = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, check=False
        )
    return done.returncode


class _Submitted:
    def __init__(self, job: Any):
        self._job = job

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        try:
            return self._job.result()
        except Exception:  # submitit tells of a job that died by its own exceptions
            return LOST

    def stop(self) -> None:
        self._job.cancel()


class Slurm:
    """Jobs of a cluster. Options are those of `submitit.AutoExecutor.update_parameters`.

    `cluster=local` runs them here.
    """

    def __init__(self, workers: int = 0, folder: str = "", cluster: str = "slurm", **options: str):
        submitit = _extra("submitit", "slurm")
        self.slots = workers or 64
        self._executor = submitit.AutoExecutor(folder=f"{folder}/submitit", cluster=cluster)
        numbers = {k: int(v) if v.isdigit() else v for k, v in options.items()}
        self._executor.update_parameters(**({"timeout_min": 24 * 60} | numbers))

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Submits a job."""
        return _Submitted(self._executor.submit(run_command, list(command), str(log), os.getcwd()))


class _Task:
    def __init__(self, ray: Any, reference: Any):
        self._ray, self._reference = ray, reference

    def poll(self) -> int | None:
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            return None
        try:
            return self._ray.get(self._reference)
        except self._ray.exceptions.RayError:  # its worker died
            return LOST

    def stop(self) -> None:
        self._ray.cancel(self._reference)


class Ray:
    """Tasks of a Ray cluster that is there (`address=auto`), or of one that is started here.

    cpus, gpus: what a worker takes.
    """

    def __init__(
        self,
        workers: int = 0,
        folder: str = "",
        address: str = "",
        cpus: str = "1",
        gpus: str = "0",
    ):
        self._ray = _extra("ray", "ray")
        del folder
        self._ray.init(address=address or None, log_to_driver=False, ignore_reinit_error=True)
        there = self._ray.cluster_resources()
        takes, kind = (float(gpus), "GPU") if float(gpus) else (float(cpus), "CPU")
        self.slots = workers or max(1, int(there.get(kind, 1) / takes))
        # Retries are the sweep's affair, which knows what is complete.
        options = {"num_cpus": float(cpus), "num_gpus": float(gpus), "max_retries": 0}
        self._run = self._ray.remote(**options)(run_command)

    def start(self, command: Sequence[str], log: pathlib.Path) -> Job:
        """Submits a task."""
        return _Task(self._ray, self._run.remote(list(command), str(log), os.getcwd()))


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--executor needs the extra `{extra}`: pip install '.[{extra}]'"
        ) from error


def _no_more(options: Mapping[str, str], executor: str) -> None:
    if options:
        raise ConfigError(f"--executor_options: {sorted(options)} are none of {executor!r}")


EXECUTORS: dict[str, Callable[..., Executor]] = {"local": Local, "slurm": Slurm, "ray": Ray}


def make_executor(
    name: str, workers: int, folder: pathlib.Path, options: Sequence[str]
) -> Executor:
    """The executor of that name.

    Args:
      name: of `EXECUTORS`. workers: at once; 0: its own choice. folder: of workers' output.
      options: NAME=VALUE.

    Raises:
      ConfigError: an option is not one of this executor, or what it needs is not installed.
    """
    pairs = dict(option.partition("=")[::2] for option in options)
    if name != "local":
        pairs["folder"] = str(folder)
    try:
        return EXECUTORS[name](workers, **pairs)
    except (TypeError, NameError) as error:
        raise ConfigError(f"--executor_options={','.join(options)}: {error}") from error
