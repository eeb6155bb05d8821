"""Tasks. One is a file here, a line in `TASKS` and a config."""

from plasticity.factory import Factory
from plasticity.task import Task
from plasticity.tasks.classify import classify
from plasticity.tasks.copying import copying
from plasticity.tasks.cue_reward import cue_reward
from plasticity.tasks.fast_mapping import fast_mapping
from plasticity.tasks.few_shot import few_shot
from plasticity.tasks.formal import modular, parity
from plasticity.tasks.mad import mad_compression, mad_copying, mad_memorisation
from plasticity.tasks.mad_recall import mad_fuzzy_recall, mad_noisy_recall, mad_recall
from plasticity.tasks.mqar import mqar
from plasticity.tasks.needle import needle
from plasticity.tasks.next_symbols import aa_star, abab_star, anbn, anbncn, shuffle2
from plasticity.tasks.permutations import permutations
from plasticity.tasks.regression import regression
from plasticity.tasks.rewriting import rewriting
from plasticity.tasks.time_scales import delayed_match, n_parity
from plasticity.tasks.what_and_when import what_and_when
from plasticity.tasks.working_memory import WORKING_MEMORY

TASKS: dict[str, Factory[Task]] = {
    "copying": copying,
    "cue_reward": cue_reward,
    "regression": regression,
    "few_shot": few_shot,
    "classify": classify,
    "fast_mapping": fast_mapping,
    "what_and_when": what_and_when,
    "mqar": mqar,
    "parity": parity,
    "modular": modular,
    "aa_star": aa_star,
    "abab_star": abab_star,
    "anbn": anbn,
    "anbncn": anbncn,
    "shuffle2": shuffle2,
    "permutations": permutations,
    "n_parity": n_parity,
    "delayed_match": delayed_match,
    **WORKING_MEMORY,
    "needle": needle,
    "rewriting": rewriting,
    "mad_recall": mad_recall,
    "mad_noisy_recall": mad_noisy_recall,
    "mad_fuzzy_recall": mad_fuzzy_recall,
    "mad_copying": mad_copying,
    "mad_compression": mad_compression,
    "mad_memorisation": mad_memorisation,
}
