"""Wrong config files, flags, environments, places and outputs."""

from functools import partial

from tests.experiments.wrong_uses.case import Case

COPYING = "--config=configs/copying.py"
COPY = "from configs import copying\n"
# A config file of a user's, and what must be said of it.
FILES = {
    "def get_config(:\n": r"line 1: SyntaxError: invalid syntax",
    f"{COPY}x = 1 / 0\n": r"line 2: ZeroDivisionError: division by zero",
    f"{COPY}def get_config():\n    return {{}}['medium']\n": r"line 3: KeyError: 'medium'",
    "def get_config():\n    return 1 + 'a'\n": r"line 2: TypeError: unsupported operand",
    "def get_config():\n    return foo\n": r"line 2: NameError: name 'foo' is not defined",
    "def get_config():\n    return int('x')\n": r"line 2: ValueError: invalid literal",
    "def get_config():\n    return get_config()\n": r"RecursionError",
    "import nothere\n": r"line 1: ModuleNotFoundError: No module named 'nothere'",
    "import sys\nsys.exit(3)\n": r"line 2: SystemExit: 3",
    "open('/nonexistent')\n": r"line 1: FileNotFoundError.*/nonexistent",
    "def get_config():\n    return {'a': 1}\n": r"returned a dict; it must return a ConfigDict",
    "def get_config():\n    return []\n": r"returned a list; it must return a ConfigDict",
    "def get_config():\n    pass\n": r"returned a NoneType; it must return a ConfigDict",
    "x = 1\n": r"has no function get_config",
    "def get_config(a, b):\n    pass\n": r"get_config needs FILE.py:ARGUMENT",
    f"from ml_collections import FrozenConfigDict\n{COPY}def get_config(which='hebbian'):\n"
    "    return FrozenConfigDict(copying.get_config(which))\n": r"returned a FrozenConfigDict",
    "from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict()\n": (
        r"no section `task`"
    ),
}
CONFIG = f"{COPY}def get_config():\n    config = copying.get_config()\n"
END = "    return config\n"
FILES |= {
    "x = 1\0\n": r"SyntaxError: source code .*cannot contain null bytes",
    "def get_config():\n\tif 1:\n        return 1\n": r"line 3: TabError",
    "get_config = dict\n": r"get_config needs FILE.py:ARGUMENT \(no signature",
    "def get_config():\n    yield 1\n": r"returned a generator; it must return a ConfigDict",
    "class Mine(BaseException):\n    pass\nraise Mine\n": r"line 3: Mine",
    f"{CONFIG}    config.train.me = config\n{END}": r"RecursionError",
    f"{CONFIG}    config.train[3] = 5\n{END}": r"TypeError",
    f"{CONFIG}    config.train.steps = 'many'\n{END}": r"line 4: TypeError: .*'steps'",
    f"{CONFIG}    config.train.setps = 5\n{END}": r"train.setps is not a setting: .*'steps'",
    f"{CONFIG}    del config.train\n{END}": r"train is missing from the config",
    f"{CONFIG}    config.mine = dict(a=1)\n{END}": r"mine is not a setting: .*train",
    f"{CONFIG}    del config.train\n    config.train = 5\n{END}": r"train=5 must be a section",
    "from absl import flags\nflags.DEFINE_string('workdir', None, '')\n": (
        r"line 2: DuplicateFlagError: .*'workdir'"
    ),
}
# --config and what follows it.
CHOICES = {
    ("--config=README.md",): r"README.md is not a Python file",
    ("--config=/dev/null",): r"/dev/null is not a Python file",
    ("--config=configs",): r"configs is not a Python file",
    ("--config=configs/copyin.py",): r"does not exist.*[Dd]id you mean configs/copying.py",
    ("--config=configs/copying",): r"does not exist.*[Dd]id you mean configs/copying.py",
    ("--config=configs/studies.py",): r"no function get_config.*--config=copying:hebbian",
    ("--config=configs/copying.py:hebian",): r"did you mean 'hebbian'",
    ("--config=configs/copying.py:rn/hebbian",): r"did you mean 'rnn'",
    ("--config=configs/base.py:rnn",): r"no section `task`",
    ("--config=copyin:hebbian",): r"does not exist.*[Dd]id you mean copying\?",
    ("--config=prototype",): r"does not exist.*Shipped configs are copying, cue_reward",
    ("--config=copying:hebian",): r"did you mean 'hebbian'",
    ("--config=configs/copying:hebbian",): r"[Dd]id you mean configs/copying.py",
    ("--config=gs://a/b.py",): r"gs://a/b.py does not exist",
    (f"--config={'x' * 300}.py",): r"does not exist",
    ("--config=",): r"--config is missing.*--config=copying:hebbian",
    ("--config", "--workdir={tmp}/x"): r"--config has no value, but is followed by --workdir",
    (COPYING, "--config=configs/copying.py:none"): r"--config is given twice",
}
# --config.FIELD=VALUE, of configs/copying.py.
SETTINGS = {
    "optimizer=adam": r"config.optimizer is a section: set one of its fields, .*optimizer.name",
    "train.optimizer=sgd": r"did you mean config.optimizer.name\?",
    "optimizer.name=adam": r"optimizer.name='adam' is unknown: did you mean 'adamw'",
    "optimizer.momentum=.5": r"a setting of optimizer.name='sgd' or 'muon', chosen by",
    "train.lr=1e-3": r"did you mean config.train.learning_rate",
    "train.epochs=3": r"config.train.epochs is not a field.*train.steps",
    "dropout=.1": r"did you mean config.model.dropout",
    "trian.steps=3": r"did you mean config.train.steps",
    "model.hidden=8": r"model.name='rnn'",
    f"seed={'9' * 5000}": r"seed=.* must be an integer",
    "train.learning_rate=1,5": r"train.learning_rate='1,5' must be a number",
    "model..width=3": r"did you mean config.model.width",
    ".=3": r"config.. is not a field of this config",
    "model.=3": r"config.model. is not a field of this config: valid: model.attention_window",
    "seed.x=8": r"config.seed.x is not a field of this config: valid: .*seed",
    "task=3": r"config.task is a section: set one of its fields, .*task.delay",
    "train.steps=1e4": r"train.steps='1e4' must be an integer: 10000",
    "model.width=64.0": r"model.width='64.0' must be an integer: 64",
    "model.width=abc": r"model.width='abc' must be an integer",
    "model.width=": r"model.width='' must be an integer",
    "model.width=None": r"model.width='None' must be an integer",
    "model.width=8=9": r"model.width='8=9' must be an integer",
    "task.delay=1,2,3": r"task.delay='1,2,3' must be an integer",
    "train.learning_rate=": r"train.learning_rate='' must be a number",
    "train.learning_rate=1e400": r"train.learning_rate=inf must be finite",
    "rule.plastic_biases=maybe": r"rule.plastic_biases='maybe' must be True or False",
    "model.name=rnn": r"'transformer': the name is chosen behind the colon of --config",
    "task.name=regression": r"'copying': the name is chosen by the config file",
    "train.steps": r"config.train.steps has no value",
    "model.width=1000000": r"training needs about .*TB.*this machine has.*model.width=1000000",
    "task.delay=1000000": r"training needs about .*task.delay=1000000",
}
MULTIHOST = (COPYING, "--workdir={tmp}/x", "--multihost")
PLACE = ("--process_count=2", "--process_index=1")
OTHERS = [
    Case("launch", (), r"--config is missing: config file"),
    Case("launch", (COPYING,), r"--workdir is missing: folder of the run"),
    Case("launch", (COPYING, "--steps=10"), r"did you mean --config.train.steps"),
    Case("launch", (COPYING, "--wrkdir=x"), r"did you mean --workdir"),
    Case("launch", (COPYING, "--resume"), r"unknown flag --resume: flags: --config, --workdir"),
    Case("launch", (COPYING, "x"), r"unexpected argument 'x'"),
    Case("launch", (COPYING, "--mode=trian"), r"must be one of train, evaluate: did you mean 'tra"),
    Case("launch", (COPYING, "--multihost=maybe"), r"--multihost=maybe must be true or false"),
    Case("launch", (COPYING, "--noconfig.rule.modulated=true"), r"has a value: write --noconfig"),
    Case("launch", (COPYING, "--flagfile=/nowhere"), r"Unable to open flagfile.*'/nowhere'"),
    Case(
        "launch",
        ("--flagfile={tmp}/mine.py",),
        r"a --flagfile is not UTF-8",
        setup=lambda tmp: (tmp / "mine.py").write_bytes(b"\xff\xfe"),
    ),
    Case("prepare_data", ("--dataset=omniglot", "--archives=gs://a/b"), r"must be a local path"),
    Case("analysis", ("--ran=x",), r"unknown flag --ran: did you mean --run"),
    Case("analysis", (), r"--run is missing: workdir of a finished run"),
    Case("report", ("--workdir=x",), r"unknown flag --workdir: flags: --runs, --out"),
    Case("reproduce", ("--config.train.steps=3",), r"unknown flag --config.train.steps: flags: "),
    Case("encode", ("--config=x",), r"unknown flag --config: flags: --workdir, --out"),
    Case("prepare_data", (), r"--dataset is missing: .*omniglot"),
    Case("benchmark", (COPYING, "--repeats=many"), r"--repeats=many must be a positive integer"),
    Case("benchmark", (COPYING, "--repeats=0"), r"--repeats=0 must be a positive integer"),
    Case("launch", (*MULTIHOST, *PLACE, "--coordinator=localhost"), r"must be HOST:PORT"),
    Case("launch", (*MULTIHOST, *PLACE, "--coordinator=localhost:99999"), r"must be HOST:PORT"),
    Case(
        "launch", (*MULTIHOST, *PLACE, "--coordinator=nohost.invalid:1234"), r"nohost.* is unknow"
    ),
    Case("launch", (*MULTIHOST, *PLACE, "--coordinator=a..b:80"), r"the host a..b is unknown"),
    Case(
        "launch",
        (*MULTIHOST, "--process_count=2", "--process_index=2", "--coordinator=localhost:80"),
        r"--process_index=2 must be less than --process_count=2",
    ),
    Case("launch", (*MULTIHOST, "--connect_timeout_seconds=999999999999"), r"in the range \[1, "),
    Case("launch", (*MULTIHOST, "--process_index=1"), r"are given together"),
    Case("launch", MULTIHOST, r"finds no other processes here.*give --coordinator=HOST:PORT"),
    Case("launch", (COPYING, "--workdir={tmp}/x", *PLACE), r"--process_count=2 needs --multihost"),
    Case(
        "launch",
        (*MULTIHOST, *PLACE, "--coordinator=localhost:9", "--connect_timeout_seconds=1"),
        r"process 0 at --coordinator=localhost:9 did not come within 1 s",
    ),
]
BENCHMARK = (COPYING, "--out={tmp}/new/bench.json")
LARGE = "--config=configs/large.py"
OUTPUTS = [
    Case(
        "benchmark", (*BENCHMARK, "--config.train.num_seeds=5"), r"num_seeds=5 must be 1: one seed"
    ),
    Case("benchmark_sites", ("--out=b.json", "--rules="), r"--rules is empty: name some of delta"),
    Case("plateau", ("--run=nowhere", "--out=p.json"), r"--run=.*nowhere holds no run"),
    Case("benchmark", (*BENCHMARK, "--engines="), r"--engines is empty: name some of auto, dense"),
    Case("benchmark", (*BENCHMARK, "--engines=sparse"), r"memory.engine='sparse' is unknown"),
    Case("benchmark", (*BENCHMARK, "--rules=hebian"), r"did you mean 'hebbian'"),
    Case("benchmark", (*BENCHMARK, "--alphas=per_layer"), r"rule.alpha='per_layer'|alpha"),
    Case("benchmark", (*BENCHMARK, "--meta_gradients=half"), r"rule.meta_gradient='half' is unk"),
    Case("benchmark", (*BENCHMARK, "--microbatches=1.5"), r"train.microbatch='1.5' must be an int"),
    Case("benchmark", (COPYING,), r"--out is missing: JSON file"),
    Case("benchmark", (COPYING, "--out", "--repeats=1"), r"--out has no value, but is followed by"),
    Case(
        "benchmark", (COPYING, "--out=README.md"), r"README.md exists, and nothing is overwritten"
    ),
    Case("benchmark", (COPYING, "--out=configs"), r"--out=configs is a folder: name a new file"),
    Case("benchmark", (COPYING, "--out=README.md/x.json"), r"README.md/x.json cannot be written"),
    Case("benchmark", (COPYING, "--out=/proc/x/y.json"), r"--out=/proc/x/y.json cannot be written"),
    Case("benchmark", (COPYING, "--out=gs://a/b.json"), r"must be a local path"),
    Case("benchmark", (COPYING, "--out=~nobody-there/x"), r"~nobody-there is no user"),
    Case(
        "scaling",
        ("--config=configs/copying.py:rnn/none", "--out={tmp}/s.json"),
        r"model.name='rnn' must be a model with layers",
    ),
    Case("scaling", (LARGE, "--out={tmp}/s.json", "--meshes="), r"must be DATAxMODEL, for example"),
    Case("scaling", (LARGE, "--out={tmp}/s.json", "--meshes=axb"), r"--meshes=axb must be DATAxMO"),
    Case("scaling", (LARGE, "--out={tmp}/s.json", "--meshes=0x8"), r"--meshes=0x8 must be DATAxMO"),
    Case("scaling", (LARGE, "--out={tmp}/s.json", f"--meshes=1x{'9' * 5000}"), r"must be DATAxMO"),
    Case("capacity", ("--rows=",), r"--rows is empty: name some, such as"),
    Case("capacity", (), r"--out is missing: JSON file"),
    Case("capacity", ("--rows=sums",), r"--rows=sums must be SETTING/MEMORY/FEATURE, such as"),
    Case("capacity", ("--rows=unique/sum/elu",), r"memory='sum' is unknown: did you mean 'sums'"),
    Case("capacity", ("--keys=1",), r"keys.*1"),
    Case("capacity", ("--out=pyproject.toml",), r"pyproject.toml is not JSON"),
    Case("scaling", (LARGE, "--out={tmp}/s.json", "--share=1000000000"), r"train.batch=.* at most"),
    Case("scaling", (LARGE, "--out={tmp}/s.json", "--meshes=8x9999"), r"at most 4096 devices"),
    Case(
        "scaling",
        (COPYING, "--out={tmp}/s.json", "--topology=v9:2x2"),
        r"--topology=v9:2x2 must be one of v4:AxBxC, v5e:AxB, v5p:AxBxC, v6e:AxB",
    ),
    Case(
        "scaling",
        (COPYING, "--out={tmp}/s.json", "--topology=v5e:2x2", "--share=2"),
        r"--share is of simulated devices",
    ),
]
RUN = (COPYING, "--workdir={tmp}/x")
ENVIRONMENTS = [
    Case("launch", RUN, r"XLA_FLAGS='garbage' is wrong", env={"XLA_FLAGS": "garbage"}),
    Case("launch", RUN, r"Unknown flag.*--xla_no=1", env={"XLA_FLAGS": "--xla_no=1"}),
]


def _write(text, folder):
    (folder / "mine.py").write_text(text)


CASES = [
    *(
        Case("launch", ("--config={tmp}/mine.py", *RUN[1:]), says, setup=partial(_write, text))
        for text, says in FILES.items()
    ),
    Case(
        "launch",
        ("--config={tmp}/mine.py:hebbian", *RUN[1:]),
        r"get_config takes no argument: leave out the colon",
        setup=partial(_write, f"{COPY}def get_config():\n    return copying.get_config()\n"),
    ),
    *(Case("launch", (*args, *RUN[1:]), says) for args, says in CHOICES.items()),
    *(Case("launch", (*RUN, f"--config.{s}"), says) for s, says in SETTINGS.items()),
    *OTHERS,
    *OUTPUTS,
    *ENVIRONMENTS,
]
