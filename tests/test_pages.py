"""The README and the pages of docs: commands are understood, code runs, links lead somewhere."""

import re
import runpy
import shlex
import sys

import pytest

from plasticity.configs.fields import CHOSEN
from plasticity.experiments.configfile import (
    file_and_argument,
    load_config,
    resolved,
    section_of,
    set_field,
)
from plasticity.experiments.extend import REGISTRIES
from plasticity.experiments.validate import validate
from tests.conftest import ROOT
from tests.launching import TINY

README = ROOT / "README.md"
HOWTO = sorted((ROOT / "docs" / "howto").glob("*.md"))
REPORTED = [*ROOT.glob("docs/results/*.md"), *ROOT.glob("docs/science/*.md")]
PAGES = [README, *HOWTO, ROOT / "docs/glossary.md", ROOT / "docs/fit.md", *sorted(REPORTED)]
PROGRAMS = ROOT / "experiments"
SHARED = "".join((PROGRAMS / f"{name}.py").read_text() for name in ("cli", "commandline"))
CELL = re.compile(r"```\{code-cell\}\n(.*?)```", re.DOTALL)
WITH_CODE = [page for page in HOWTO if CELL.search(page.read_text())]
MOST_WORDS = 750  # of the README


def name_of(path):
    return path.stem


def commands(page):
    """(program, its flags) of every command on a page, in blocks and within sentences."""
    text = page.read_text().replace("\\\n", " ")
    found = re.findall(r"python -m (?:plasticity\.)?experiments\.(\w+)([^\n`|;&]*)", text)
    return [(program, shlex.split(rest, comments=True)) for program, rest in found]


@pytest.fixture
def registries(monkeypatch):
    """Forgets afterwards what the files of examples have registered."""
    monkeypatch.chdir(ROOT)
    before = {section: dict(registry) for section, registry in REGISTRIES.items()}
    modules = set(sys.modules)
    yield
    for section, registry in REGISTRIES.items():
        for name in registry.keys() - before[section].keys():
            del registry[name]
    for name in sys.modules.keys() - modules:
        if name.startswith("config file "):
            del sys.modules[name]


def checked_config(given, fields, varied):
    """The config of a command, with its overrides; raises ConfigError as the program would."""
    config = load_config(*file_and_argument(given))
    for field, text in sorted(fields, key=lambda one: one[0] not in CHOSEN):
        set_field(config, field, text)
    for field in varied:
        section_of(config, field)
    return resolved(config, {})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_is_one_that_its_program_understands(page, registries):
    for program, words in commands(page):
        source = (PROGRAMS / f"{program}.py").read_text() + SHARED
        flags = [word.removeprefix("--").partition("=")[::2] for word in words if word != "..."]
        for flag, _ in flags:
            known = flag.startswith("config.") or f'"{flag.removeprefix("no")}"' in source
            assert known or f'"{flag}"' in source, (program, flag)
        given = dict(flags).get("config", "")
        if not given or re.search(r"[A-Z]{3}", given):  # --config=copying:RULE
            continue
        fields = [(f.removeprefix("config."), v) for f, v in flags if f.startswith("config.")]
        varied = [v.partition("=")[0] for f, v in flags if f == "sweep_over"]
        config = checked_config(given, fields, [f.removeprefix("config.") for f in varied])
        if program == "launch" and "features" not in dict(config.task):
            validate(config, training="evaluate" not in dict(flags).get("mode", ""))


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_code_of_a_page_runs(page):
    scope = {}
    for cell in CELL.findall(page.read_text()):
        exec(compile(cell, page.name, "exec"), scope)
    if "whole" in scope:  # an episode in pieces
        assert abs(scope["whole"][:, 30:] - scope["rest"]).max() < 1e-5


def test_some_pages_have_code():
    assert {"network", "pieces", "memory-layers", "rule"} <= set(map(name_of, WITH_CODE))


def test_the_readme_code_runs():
    """The block of library use, which has the shapes of a network of its reader's."""
    block = re.search(r"<!-- library -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)[1]
    assert len(block.splitlines()) <= 10
    found = {}
    exec(compile(block, "README.md", "exec"), found)
    assert found["ys"].shape == (8, 50, 4)


def test_the_readme_has_its_two_commands():
    for marker, end in (("main job", "--workdir=runs/copying"), ("tests", "-m pytest")):
        line = re.search(rf"<!-- {marker} -->\n```sh\n(.*)\n```", README.read_text())
        assert line, marker
        assert line.group(1).startswith("python3 -m venv .venv && ")
        assert line.group(1).endswith(end)


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= MOST_WORDS


def test_the_readme_names_every_rule():
    for rule in REGISTRIES["rule"]:
        assert f"`{rule}`" in README.read_text() or rule == "none", rule


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    """Links from page to page are Sphinx's, which knows the titles too; all others are here."""
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    links = [link for link in links if page == README or not link.endswith(".md")]
    for target in [*links, *re.findall(r"\{literalinclude\} (\S+)", text)]:
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, ROOT / "BUILD_NOTES.md"], ids=name_of)
def test_no_placeholder_is_left(page):
    assert not re.search(r"\b(RESULT_|NUMERICS\b|MAINJOB|TODO)", page.read_text())


def test_every_howto_is_in_the_index():
    index = (ROOT / "docs" / "howto" / "index.md").read_text()
    for page in HOWTO:
        assert page.stem == "index" or f"\n{page.stem}\n" in index, page.stem


@pytest.mark.slow
def test_the_figure_of_the_readme_is_the_same_when_drawn_again(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib, of the extra `plots`, is not installed")
    main = runpy.run_path(str(ROOT / "docs" / "figures" / "recall.py"))["main"]
    tiny = dict(word.removeprefix("--config.").split("=") for word in TINY)
    short = {name: int(value) for name, value in tiny.items()}
    short |= {"train.steps": 6, "log.every": 2, "evaluate.every": 2}
    drawn = []
    for name in ("first.svg", "again.svg"):  # the second opens the runs
        main(tmp_path / "runs", tmp_path / name, **short)
        drawn.append((tmp_path / name).read_text())
    assert drawn[0] == drawn[1]
    assert all(text in drawn[0] for text in ("plasticity off", "static weights", "chance level"))
