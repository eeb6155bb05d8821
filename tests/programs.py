"""Starts the programs of `experiments` in processes forked from a server that imported JAX once.

A process that starts from nothing imports for three seconds before it does anything that a test
is about. A program itself is not imported beforehand: it defines its flags when it is.
"""

import importlib
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.preload"])


class Forked:
    """A process that calls `function(*args)`, with the methods of `subprocess.Popen`.

    What it prints is in the files `out` and `err`, which may be the same.
    """

    def __init__(self, function, *args, out, err, env=None):
        out.touch()
        environment = dict(os.environ) | (env or {})
        self._process = _SERVER.Process(target=_call, args=(function, args, environment, out, err))
        self._process.start()
        self._out, self._read = out, 0
        self.pid = self._process.pid

    @property
    def returncode(self):
        """None as long as the process runs; -N if signal N ended it."""
        return self._process.exitcode

    def poll(self):
        return self.returncode

    @property
    def stdout(self):
        """The lines of `out`, each as soon as it is complete, until the process ends."""
        while True:
            ended = self.returncode is not None
            line, end, _ = self._unread().partition("\n")
            if end:
                self._read += len(line) + 1
                yield line + end
            elif ended:
                return
            else:
                self._process.join(0.02)

    def send_signal(self, number):
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """(what `out` holds beyond the lines that were read, None)."""
        self.wait(timeout)
        return self._unread(), None

    def _unread(self):
        return self._out.read_text()[self._read :]


def start(name, *args, out=None, err=None, env=None, package="experiments"):
    """Starts `python -m PACKAGE.NAME ARGS`; without `err`, stderr goes to `out` as well."""
    if out is None:
        folder = tempfile.mkdtemp(prefix="printed", dir=os.environ["PRINTED_DIR"])
        out = pathlib.Path(folder) / "out"
    return Forked(_run, f"{package}.{name}", args, out=out, err=err or out, env=env)


def start_with_devices(devices, module, function, *, out):
    """Starts MODULE.FUNCTION() where the CPU counts as that many devices."""
    return Forked(_call_with_devices, devices, module, function, out=out, err=out)


def _run(module, args):
    sys.argv = [module, *args]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _call_with_devices(devices, module, function):
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    getattr(importlib.import_module(module), function)()


def _call(function, args, environment, out, err):
    """In the forked process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
        stream.reconfigure(line_buffering=True)
    function(*args)
