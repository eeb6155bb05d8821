"""Few-shot classification of images."""

from ml_collections import config_dict

from configs import base


def add_task(config: config_dict.ConfigDict, dataset: str) -> None:
    """Adds `config.task`: 5 ways, 1 shot, images of a data set."""
    config.task = config_dict.ConfigDict()
    config.task.name = "few_shot"
    config.task.dataset = dataset  # omniglot | cifar_fs
    config.task.split = SPLITS[dataset]  # a scheme of the data set, see plasticity/data
    config.task.ways = 5
    config.task.shots = 1
    config.task.queries = 15  # per class
    config.task.order = "independent"  # queries apart | stream: one after the other, as published
    config.task.shuffle = True  # False: in class order, as published; leaks the labels
    config.task.flip = False  # augmentation in training: left to right
    config.task.crop = 0  # moved by so many pixels at most
    config.task.jitter = 0.0  # brightness, contrast, colour
    config.task.features = ""  # file of features of a frozen encoder; empty: images


SPLITS = {"omniglot": "vinyals", "cifar_fs": "bertinetto"}


def get_config(which: str, dataset: str) -> config_dict.ConfigDict:
    """The config for a RULE or MODEL/RULE; see configs/omniglot.py and configs/cifar_fs.py."""
    config = base.start(which, {"transformer": {"dropout": 0.0}})
    add_task(config, dataset)
    config.task.queries = 5  # enough to learn from; accuracy does not depend on it
    config.train.steps = 600
    config.train.batch = 32
    config.train.learning_rate = 1e-3
    config.train.schedule = "cosine"
    # A class is written once: with the paper's 0.2 training stays on a plateau for long, under the
    # gradient rule in two of three seeds for good.
    config.rule.eta0 = 1.0
    config.evaluate.every = 500
    return config
