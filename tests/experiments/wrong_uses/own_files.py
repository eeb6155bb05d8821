"""Rules, tasks and networks of a user's own that cannot be registered or found again."""

from tests.conftest import ROOT
from tests.experiments.run_folders import edit, make_run
from tests.experiments.wrong_uses.case import Case

HEAD = """
import dataclasses
from plasticity import register_backbone, register_rule, register_task
from plasticity.configs import base, copying
from plasticity.rules import PlasticSettings, none
from plasticity.settings import Settings, setting
def make(settings): return none()
@dataclasses.dataclass(frozen=True)
class Mine(PlasticSettings):
    x: float = setting(1.0, "a number", low=0)
def get_config(which="mine"): return copying.get_config(which)
"""
FIELD = "@dataclasses.dataclass(frozen=True)\nclass Other(Mine):\n    {}\n"
FILES = {
    "register_rule('hebbian', make, Mine)": r"rule.name='hebbian' is taken by make of this library",
    "register_task('copying', make, Mine)": r"Mine.* must be .* with section = 'task'",
    "register_backbone('mine', make, Mine)": r"Mine.* must be .* section = 'model'",
    "register_rule('my rule', make, Mine)": r"rule.name='my rule' must be a Python name",
    "register_rule(3, make, Mine)": r"rule.name=3 must be a Python name",
    "register_rule('mine', 3, Mine)": r"rule.name='mine': make=3 must be a function",
    "register_rule('mine', make, dict)": r"settings=dict must be a dataclass",
    "register_rule('mine', make, Mine())": r"settings=Mine.* must be a dataclass",
    "class Other(Mine): y = setting(1, '')\nregister_rule('mine', make, Other)": (
        r"Other.* must be a dataclass"
    ),
    FIELD.format("y: int = 3") + "register_rule('mine', make, Other)": (
        r"Other.* fields made by plasticity.settings.setting"
    ),
    FIELD.format("x: float = setting(-1.0, '', low=0)") + "register_rule('mine', make, Other)": (
        r"rule.x=-1.0 must be at least 0"
    ),
    FIELD.format(
        "x: str = setting('', '', traced=True)"
    ): r"line 14: TypeError: a traced setting must be",
    FIELD.format("name: str = setting('', '')") + "register_rule('mine', make, Other)": (
        r"rule.name is a field of every `rule`: Other cannot declare it again"
    ),
    "register_rule('mine', make, Mine)\ndef other(settings): return none()\n"
    "register_rule('mine', other, Mine)": r"rule.name='mine' is taken by make of .*mine.py: choose",
    "def get_config(which=''):\n    config = copying.get_config('hebbian')\n"
    "    config.rule.name = 'none'\n    return config": (
        r"rule.name='none', but the fields of `rule` are those of 'hebbian': .*choose_rule"
    ),
    "def get_config(which=''):\n    config = copying.get_config('none')\n"
    "    config.rule.post = 'linear'\n    return config": (
        r"rule.post is a setting of rule.name='hebbian', chosen behind the colon"
    ),
}

# What is wrong in the example of a rule and a task of one's own: {text: (its mistake, message)}.
SMALL = ("--config.train.steps=2", "--config.train.warmup=0", "--config.train.batch=2")
MISTAKES = {
    'main_metric="query_mse"': ('main_metric="mse"', r"Task.main_metric is 'mse', .* query_mse", 2),
    "jnp.maximum": ("jnp.maximun", r"AttributeError: .*'maximun' \(in .*mine.py, line 37\)\n$", 1),
    "answers, episode)[-1]": ("answers, episode)", r"Task.metrics gives 'query_mse' float32", 2),
}


def _with_mistake(right, wrong):
    text = (ROOT / "examples" / "oja.py").read_text()
    assert right in text
    return lambda tmp: (tmp / "mine.py").write_text(text.replace(right, wrong))


def _write(text):
    return lambda tmp: (tmp / "mine.py").write_text(f"{HEAD}{text}\n")


def _run_of(source):
    """A run of the rule `mine`, which is registered by `source`."""

    def setup(tmp):
        config = make_run(tmp / "run") / "config.json"
        sources = {"registered_by": {"rule": source.replace("{tmp}", str(tmp))}}
        edit(config, lambda value: value.update(sources))
        edit(config, lambda value: value["rule"].update(name="mine"))
        (tmp / "empty.py").write_text("")
        (tmp / "broken.py").write_text("\n1 / 0\n")

    return setup


def _opened(source, says):
    return Case("analysis", ("--run={tmp}/run",), says, setup=_run_of(source))


CASES = [
    *(
        Case(
            "launch",
            ("--config={tmp}/mine.py", "--workdir={tmp}/x"),
            f"--config=.*mine.py: .*{says}" if "register" in text else says,
            setup=_write(text),
        )
        for text, says in FILES.items()
    ),
    *(
        Case(
            "launch",
            ("--config={tmp}/mine.py", "--workdir={tmp}/x", *SMALL),
            says,
            code,
            _with_mistake(right, wrong),
        )
        for right, (wrong, says, code) in MISTAKES.items()
    ),
    _opened(
        "{tmp}/gone.py",
        r"config.json: rule.name='mine' is registered by .*gone.py, which does not exist: put it "
        r"back, or write its new place into .*config.json",
    ),
    _opened("{tmp}/empty.py", r"by .*empty.py, which does not register it when it is executed"),
    _opened("{tmp}/broken.py", r"by .*broken.py: line 2: ZeroDivisionError"),
    _opened("no_such_package.mine", r"by no_such_package.mine: ModuleNotFoundError"),
    _opened("__main__", r"by __main__, which does not register it"),
]
