"""Tasks. One is a file here, a line in `TASKS` and a config."""

from plasticity.factory import Factory
from plasticity.task import Task
from plasticity.tasks.copying import copying
from plasticity.tasks.cue_reward import cue_reward
from plasticity.tasks.few_shot import few_shot
from plasticity.tasks.formal import modular, parity
from plasticity.tasks.mad import mad_compression, mad_copying, mad_memorisation
from plasticity.tasks.mad_recall import mad_fuzzy_recall, mad_noisy_recall, mad_recall
from plasticity.tasks.mqar import mqar
from plasticity.tasks.needle import needle
from plasticity.tasks.regression import regression
from plasticity.tasks.rewriting import rewriting

TASKS: dict[str, Factory[Task]] = {
    "copying": copying,
    "cue_reward": cue_reward,
    "regression": regression,
    "few_shot": few_shot,
    "mqar": mqar,
    "parity": parity,
    "modular": modular,
    "needle": needle,
    "rewriting": rewriting,
    "mad_recall": mad_recall,
    "mad_noisy_recall": mad_noisy_recall,
    "mad_fuzzy_recall": mad_fuzzy_recall,
    "mad_copying": mad_copying,
    "mad_compression": mad_compression,
    "mad_memorisation": mad_memorisation,
}
