"""A run as one call and one object: `plasticity.train`, `plasticity.open_run`, `plasticity.Run`.

They read no flags, and change no setting of the process or of JAX. Where the launcher uses every
core of a CPU, call `plasticity.experiments.run.processor.use_all_cores()` before JAX computes.
"""

import base64
import functools
import html
import io
import os
import signal
import tempfile
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from plasticity.commands import install
from plasticity.experiments import build
from plasticity.experiments.configfile import file_and_argument, load_config, resolved
from plasticity.experiments.reports.runs import read_run
from plasticity.experiments.run import train as training
from plasticity.experiments.run.evaluate import trained_parameters
from plasticity.experiments.run.result import read_result
from plasticity.experiments.run.seeds import Seeds
from plasticity.experiments.run.storage import DamagedFileError, WorkdirError, is_there
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.sweeps.tables import summary
from plasticity.experiments.validate import ConfigError, validate
from plasticity.learner import RandomStream
from plasticity.network import Parameters
from plasticity.registry import shown

Path = str | os.PathLike[str]


def train(
    config: ConfigDict | str, workdir: Path | None = None, overrides: Mapping[str, Any] = {}
) -> "Run":
    """Trains as the launcher does. The same call resumes a run, and opens a finished one.

    Args:
      config: a config, or the text of --config, such as "copying:hebbian".
      workdir: folder of the run; None: a new temporary one, whose name is printed.
      overrides: {dotted field: value}, such as {"train.steps": 100}.

    Raises:
      ConfigError: the config cannot be run.
      WorkdirError: the workdir is of another config, is in use, or is damaged.
      CheckpointError: checkpoints cannot be saved or read.
      PlasticityError: plasticity cannot be learned, or no seed's loss is finite.
      KeyboardInterrupt: the run was interrupted, and has saved its state.

    >>> import plasticity
    >>> small = {"train.steps": 2, "train.warmup": 0, "evaluate.episodes": 128}
    >>> run = plasticity.train("copying:hebbian", overrides=small)  # doctest: +ELLIPSIS
    workdir: ...
    >>> run.config.rule.name, run.result["main_metric"]
    ('hebbian', 'recall_accuracy')
    >>> sorted(plasticity.open_run(run.workdir).params.plasticity.synapses)[0]
    'block_0/fc1'
    """
    if isinstance(config, str):
        config = load_config(*file_and_argument(config))
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"config={shown(config)} must be a ConfigDict or a text")
    config = resolved(config, overrides)
    validate(config)
    if workdir is None:
        workdir = tempfile.mkdtemp(prefix="plasticity-")
        print(f"workdir: {workdir}", flush=True)
    code = training.train(config, os.fspath(workdir))
    if code:
        raise KeyboardInterrupt if code == 128 + signal.SIGINT else SystemExit(code)
    return open_run(workdir)


def open_run(workdir: Path) -> "Run":
    """The run in a workdir, wherever it was trained.

    Args:
      workdir: its folder. A rule or task of one's own is found by the file that the run recorded.

    Raises:
      WorkdirError: there is no finished run, or a file of it is damaged.
    """
    return Run(Workdir(os.fspath(workdir)))


class Run:
    """A finished run. IPython shows its table and its learning curves.

    Attributes:
      workdir: its folder.
      config: that it was trained with, a `ConfigDict`.
      result: the content of result.json, with a record of each seed in `seeds`.
      task: the library's `Task`.
      network: the library's `Network`.
    """

    def __init__(self, files: Workdir):
        self._files, self.workdir = files, files.path
        self.config = files.trained_config()
        if not is_there(files.result):
            raise WorkdirError(
                f"the run in {files.path} has no result.json, so it is not finished: train it with "
                "the same config and workdir"
            )
        self.result = read_result(files.result, self.config.train.steps)
        learner = build.make_learner(self.config)
        self.task = learner.task
        hyper = build.make_hyperparameters(self.config, self.task, RandomStream.TEST)
        self.network = learner.make_network(hyper)

    @functools.cached_property
    def params(self) -> Parameters:
        """The trained parameters; of several seeds, those of the first.

        Raises:
          WorkdirError: there is no checkpoint.
          CheckpointError: none can be read.
        """
        return self.params_of(self.config.seed)

    def params_of(self, seed: int) -> Parameters:
        """The trained parameters of a seed.

        Raises:
          ValueError: it is none of the run.
          WorkdirError: there is no checkpoint.
          CheckpointError: none can be read.
        """
        seeds = Seeds(self.config)
        if seed not in seeds.numbers:
            raise ValueError(f"seed={seed} must be one of those of the run: {seeds.numbers}")
        _, trained = trained_parameters(self.config, self._files)
        return seeds.pick(trained, seeds.numbers.index(seed))

    def table(self) -> str:
        """The headline metric, plasticity on and off, with 95 % intervals over test episodes.

        A line per seed; the last of several is their mean, with its interval over seeds.
        """
        metric, records = {"main_metric": self.result["main_metric"]}, self.result["seeds"]
        lines = [({"seed": record["seed"]}, record | metric) for record in records]
        return summary(lines if len(lines) == 1 else [*lines, ({"seed": "mean"}, self.result)])

    def figure(self) -> Any:
        """The headline metric in training: a figure of Matplotlib.

        Raises:
          ImportError: the extra `plots` is not installed.
          DamagedFileError: metrics.jsonl is missing or damaged.
        """
        try:
            import matplotlib.pyplot  # IPython displays figures once this is imported

            from plasticity.experiments.reports import figures
        except ImportError as error:
            raise ImportError(f"figures need the extra `plots`: {install('plots')}") from error
        problems: list[str] = []
        run = read_run(self.workdir, [path.name for path in self.workdir.iterdir()], problems)
        with matplotlib.rc_context(figures.SETTINGS):
            figure = figures.learning_curves([run])
        if figure is None:
            raise DamagedFileError("; ".join([f"{self.workdir} has no curve", *problems]))
        return figure

    def __repr__(self) -> str:
        title = f"task {self.config.task.name}, rule {self.config.rule.name}: {self.workdir}"
        return f"{title}\n{self.table()}"

    def _repr_html_(self) -> str:
        text, drawn = f"<pre>{html.escape(repr(self))}</pre>", io.BytesIO()
        try:
            self.figure().savefig(drawn, format="svg")
        except (ImportError, DamagedFileError) as error:
            return f"{text}<p>{html.escape(str(error))}</p>"
        image = base64.b64encode(drawn.getvalue()).decode()
        return f'{text}<img alt="learning curves" src="data:image/svg+xml;base64,{image}">'
