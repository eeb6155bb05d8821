"""The directive `entries`: a section for every entry of a registry, or a table of settings.

.. entries:: plasticity.tasks.TASKS
"""

import importlib
import inspect
from types import ModuleType
from typing import Any

from docstrings import module_of, readable
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from plasticity.factory import Factory
from plasticity.settings import Settings


class Entries(SphinxDirective):
    """A section for each module of entries: its docstring, and the settings of each of them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The sections."""
        module, _, name = self.arguments[0].rpartition(".")
        modules: dict[ModuleType, dict[str, Factory[Any]]] = {}
        for entry, factory in getattr(importlib.import_module(module), name).items():
            modules.setdefault(module_of(factory), {})[entry] = factory
        lines: list[str] = []
        for source, entries in modules.items():
            lines += [*_title(", ".join(entries)), *readable(inspect.getdoc(source).splitlines())]
            kinds: dict[type[Settings], list[str]] = {}
            for entry, factory in entries.items():
                kinds.setdefault(factory.settings, []).append(entry)
            for kind, names in kinds.items():
                if list(kind.describe()):
                    lines += ["", f"Settings of {' and '.join(f'``{n}``' for n in names)}:", ""]
                    lines += _table(kind)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class Sections(SphinxDirective):
    """A section for each one of a config: field, default, meaning and range."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        from plasticity.configs import base

        sections: dict[str, list[type[Settings]]] = {}
        for part in base.PARTS:
            sections.setdefault(part.section, []).append(part)
        lines: list[str] = []
        for section, parts in sections.items():
            lines += _title(section or "Outside any section")
            for part in parts:
                lines += ["", *readable(inspect.getdoc(part).splitlines()), "", *_table(part)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _title(text: str) -> list[str]:
    return ["", text, "-" * len(text), ""]


def _table(kind: type[Settings]) -> list[str]:
    """Field, default, meaning and range of all settings of a class."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 25 15 60", ""]
    cells = [("field", "default", "meaning")]
    for field, about in kind.describe():
        name = field.rpartition(".")[2]
        cells.append((f"``{name}``", f"``{getattr(kind(), name)!r}``", *readable([about])))
    for first, *others in cells:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directives."""
    app.add_directive("entries", Entries)
    app.add_directive("config-sections", Sections)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
