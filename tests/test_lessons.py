"""The lessons are complete; that their cells run is for the build of the documentation to find."""

import re

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "lessons"
LESSONS = sorted(FOLDER.glob("[0-9]_*.md"))
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_there_are_six_lessons_and_all_are_listed():
    tree = re.search(r"```\{toctree\}\n(.*?)```", (FOLDER / "index.md").read_text(), re.DOTALL)
    listed = [line for line in tree.group(1).splitlines() if line and not line.startswith(":")]
    assert listed == [path.stem for path in LESSONS]
    assert len(listed) == 6


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_says_what_it_teaches_draws_it_asserts_it_and_asks(path):
    text = path.read_text()
    body = text.split("\n# ", 1)[1]
    assert body.split("\n\n")[1].startswith(("After this lesson you", "In this lesson you"))
    cells = CELL.findall(text)
    assert sum("plt.xlabel(" in c or "set_xlabel(" in c for c in cells) >= 1
    assert any(re.search(r"^ *assert ", cell, re.MULTILINE) for cell in cells)
    lesson, exercises = body.split("\n## Exercises\n")
    assert "\n## Where this stands in the code\n" in lesson
    asked = re.findall(r"^\*\*\d\.\*\* ", exercises, re.MULTILINE)
    assert len(asked) in (2, 3)
    assert exercises.count(":::{dropdown} Answer") == len(asked)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_files_that_a_lesson_points_to_exist(path):
    section = path.read_text().split("\n## Where this stands in the code\n")[1].split("\n## ")[0]
    named = re.findall(r"`((?:plasticity|experiments|examples|tests)/[\w/]+\.py)`", section)
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name
