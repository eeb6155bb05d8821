from plasticity.extend import register_backbone as register_backbone
from plasticity.extend import register_rule as register_rule
from plasticity.extend import register_task as register_task
