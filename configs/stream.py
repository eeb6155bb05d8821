"""Streams: tasks one after the other, of which the slow weights see each only once.

  python -m experiments.launch --config=stream:STREAM/RULE --workdir=DIR
  python -m experiments.launch --config=stream:copying/none --workdir=runs/stream
  python -m experiments.launch --config=stream:tens/none --workdir=runs/tens \
      --config.task.features=cifar_fs.npz --config.stream.method=replay

STREAM        tasks  a task is
copying           5  copying, with the vocabulary in an order of its own; needs no images
alphabets        10  an alphabet of Omniglot: its first ten characters
tens             10  ten classes of CIFAR-100
superclasses     20  a superclass of CIFAR-100: its five classes
swaps            10  ten classes of CIFAR-100; from task to task, two exchange their labels

Images have fixed labels, and attention is closed: without plasticity the network is a plain
classifier, while fast weights may read the labels of the support. Without a file of features
(experiments.encode) it learns from pixels. result.json has the accuracy on every task after each of
them (`stream`), its measures, and those of the slow matrices (`slow_matrices`). Settings:

  --config.stream.method=plain, replay, ewc, online_ewc or joint; --config.stream.boundaries=hidden
  --config.task.labels=random, so that each episode assigns labels anew
  --config.stream.repetitions=5 --config.stream.spacing=spaced: each episode is seen five times, and
      all tasks but the last take turns, in place of five times in a row (massed)
  --config.consolidation.rate=.1: fast weights flow into slow ones after every update

Expected of stream:copying/none, seed 0, 100 test episodes: average accuracy .35 under plain, .52
under ewc with a strength of 1e4, 1.00 under replay and joint; chance level .125. 19 to 25 seconds
of one CPU core each, start and compilation included. Images: docs/results/streams.md.
"""

from typing import Any

from ml_collections import config_dict

from plasticity.configs import base
from plasticity.configs.fields import set_fields
from plasticity.registry import lookup

IMAGES = {"task.labels": "fixed", "task.shots": 1, "task.queries": 3}
OMNIGLOT = {"task.dataset": "omniglot", "task.split": "vinyals"} | IMAGES
CIFAR = {"task.dataset": "cifar_fs", "task.split": "bertinetto"} | IMAGES
# {STREAM: (task, its settings)}
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "copying": ("copying", {"task.tasks": 5, "task.delay": 5, "task.loss_steps": "recall"}),
    "alphabets": ("few_shot", OMNIGLOT | {"task.tasks": 10, "task.ways": 10}),
    "tens": ("few_shot", CIFAR | {"task.tasks": 10, "task.ways": 10}),
    "superclasses": ("few_shot", CIFAR | {"task.tasks": 20, "task.ways": 5}),
    "swaps": ("few_shot", CIFAR | {"task.tasks": 10, "task.ways": 10}),
}


def get_config(which: str = "copying/hebbian") -> config_dict.ConfigDict:
    """The config of a stream and a rule: --config=stream:STREAM/RULE, or :STREAM/MODEL/RULE."""
    stream, _, network = which.partition("/")
    task, settings = lookup(STREAMS, stream, "STREAM of --config=stream:STREAM/RULE")
    config = base.start(network or "hebbian", task)
    set_fields(config, settings | {"rule.eta0": 1.0})
    if task == "few_shot":
        config.task.stream = stream
        if "attention_window" in config.model:
            config.model.attention_window = -1
    else:
        config.model.position = "learned"
    config.train.steps = 600 if task == "few_shot" else 750
    config.train.batch = 8 if task == "few_shot" else 16
    config.train.learning_rate = 2e-3
    config.train.warmup = 20
    config.train.weight_decay = 0.0  # it would touch every weight
    config.evaluate.every = 0
    config.evaluate.episodes = 1000
    return config
