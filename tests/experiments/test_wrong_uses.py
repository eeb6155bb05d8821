"""Every wrong use ends with its exit code and one message, and changes nothing.

The uses are in wrong_uses/: a module with a list CASES for each part of the programs. By default
every fifth of them, from the first one of each list on.
"""

import importlib
import pkgutil
import re

import pytest

from tests.experiments import wrong_uses


def _cases():
    for module in pkgutil.iter_modules(wrong_uses.__path__):
        if module.name != "case":
            table = importlib.import_module(f"{wrong_uses.__name__}.{module.name}")
            for number, case in enumerate(table.CASES):
                args = [a.replace("{tmp}/", "") for a in case.args if "--workdir" not in a]
                yield pytest.param(
                    case,
                    id=" ".join([module.name, case.program, *args])[:100],
                    marks=pytest.mark.slow if number % 5 else (),
                )


def _contents(folder):
    """{path: what is there}, of everything below the folder."""
    return {
        path: path.read_bytes() if path.is_file() else (path.is_symlink(), path.is_dir())
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("case", list(_cases()))
def test_one_message_and_nothing_changed(case, program, tmp_path, monkeypatch):
    def filled(text):
        return text.replace("{tmp}", str(tmp_path))

    if case.setup:
        case.setup(tmp_path)
    for name, value in case.env.items():
        monkeypatch.setenv(name, filled(value))
    before = _contents(tmp_path)
    code, out, err = program(case.program, *map(filled, case.args))
    printed = f"{out}\n{err}"
    assert code == case.code, printed
    assert re.search(case.says, err), printed
    assert len(re.findall(r"^error: ", err, re.M)) == 1, printed
    assert "Traceback" not in printed
    if case.code == 2:  # nothing had started
        assert _contents(tmp_path) == before
