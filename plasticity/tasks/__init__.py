"""Tasks. One is a file here, a line in `TASKS` (factory(**settings) -> Task) and a config."""

from plasticity.tasks.copying import copying
from plasticity.tasks.cue_reward import cue_reward
from plasticity.tasks.few_shot import few_shot
from plasticity.tasks.regression import regression

TASKS = {
    "copying": copying,
    "cue_reward": cue_reward,
    "regression": regression,
    "few_shot": few_shot,
}
