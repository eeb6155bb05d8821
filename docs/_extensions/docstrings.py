"""How autodoc reads this project's docstrings.

They are plain English. Axis letters and formulas contain the marks of reStructuredText (`|x|`,
`x_`, `2 * x`), formulas stand indented, fields of records are described by comments beside them,
and rules, tasks and optimizers by their module. So that both a reader of the code and a reader of
the pages see the same text, it is adapted here, not in the code.
"""

import ast
import dataclasses
import importlib
import inspect
import io
import re
import sys
import textwrap
import tokenize
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from plasticity.factory import Factory

LOGGER = logging.getLogger(__name__)
PARTS = ("plasticity.rules.", "plasticity.tasks.", "plasticity.outer.", "plasticity.model.")
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")
NOT_TEXT = re.compile(r"(``.*?``|`[^`]*`)")
PRAGMA = re.compile(r"(type: ignore|noqa)\S*\s*#?\s*")


def escaped(line: str) -> str:
    """A line of prose in which only backticks are markup."""
    if line.lstrip().startswith("**"):  # arguments of a function, which napoleon escapes
        return line
    parts = NOT_TEXT.split(line)
    for place in range(0, len(parts), 2):
        text = re.sub(r"([*|])", r"\\\1", parts[place])
        text = re.sub(r"(?<=\w)_(?!\w)", r"\\_", text)
        parts[place] = f"\\ {text}" if place and text[:1].isalpha() else text
    return "".join(parts)


def readable(lines: list[str]) -> list[str]:
    """The lines, with formulas as literal blocks and without accidental markup."""
    found: list[str] = []
    section = literal = prompt = False
    for line in lines:
        indented = line.startswith("  ")
        if line and not indented:
            section, literal = line.strip() in SECTIONS, False
        starts = indented and not section and not literal and (not found or not found[-1].strip())
        if starts:
            found += [".. code-block:: text", ""]
            literal = True
        prompt = bool(line.strip()) and (prompt or line.lstrip().startswith(">>>"))
        found.append(line if literal or prompt or line.strip() in SECTIONS else escaped(line))
        if line.strip() and not indented and literal:
            literal = False
    return found


def fields_of(record: type) -> dict[str, str]:
    """{"field (type)": the comment behind it} of a NamedTuple or a dataclass, by its source."""
    source = textwrap.dedent(inspect.getsource(record))
    said = {
        token.start[0]: PRAGMA.sub("", token.string.lstrip("# ")).strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (definition,) = ast.parse(source).body
    fields = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign):
            lines = range(node.lineno, node.end_lineno + 1)
            name = f"{node.target.id} ({ast.unparse(node.annotation)})"
            fields[name] = " ".join(said[n] for n in lines if said.get(n))
    return fields


def attributes(record: type) -> list[str]:
    """The section Attributes of a record whose docstring has none."""
    if dataclasses.is_dataclass(record):
        about = {f.name: f.metadata.get("about") for f in dataclasses.fields(record)}
        if about and all(about.values()):
            said = dict(record.describe())
            section = f"{record.section}." if record.section else ""
            return ["", "Attributes:", *(f"  {n}: {said[section + n]}" for n in about)]
    return ["", "Attributes:", *(f"  {name}: {text}" for name, text in fields_of(record).items())]


def module_of(factory: Factory[Any]) -> ModuleType:
    """The module that defines, and describes, an entry of a registry."""
    for name, module in sys.modules.items():
        if name.startswith(PARTS) and not hasattr(module, "__path__"):
            values = list(vars(module).values())
            values += [v for d in values if isinstance(d, dict) for v in d.values()]
            if any(value is factory for value in values):
                return module
    return sys.modules[factory.make.__module__]


def of_factory(factory: Factory[Any]) -> list[str]:
    """What the module of a rule, task or optimizer says, and its settings."""
    lines = (inspect.getdoc(module_of(factory)) or "").splitlines()
    settings = list(factory.settings.describe())
    if settings:
        lines += ["", "Args:"]
    return [*lines, *(f"  {name.rpartition('.')[2]}: {about}" for name, about in settings)]


def prepare(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Runs before napoleon, which makes fields of the sections."""
    del app, options
    if isinstance(obj, Factory):
        lines[:] = of_factory(obj)
    record = inspect.isclass(obj) and (hasattr(obj, "_fields") or dataclasses.is_dataclass(obj))
    if record and "Attributes:" not in lines:
        lines[:] = [*lines, *attributes(obj)]
    if not any(line.strip() for line in lines):
        LOGGER.warning("%s has no docstring", name, type="docstrings")
    lines[:] = readable(lines)
    for place in heads(what, lines):
        lines[place] = re.sub(r"^\s*", r"\g<0>: ", lines[place])


def heads(what: str, lines: list[str]) -> list[int]:
    """Lines in which napoleon would take the text before a colon for a type."""
    found = [0] if what in ("attribute", "data", "property") else []
    found += [n + 1 for n, line in enumerate(lines) if line in ("Returns:", "Yields:")]
    return [n for n in found if ":" in lines[n]]


def sign(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Defaults as a reader would write them."""
    del app, what, name, obj, options
    if not signature:
        return None
    short = re.sub(r"<(function|factory|object)\b(?:[^<>]|<\w+>)*>", "...", signature)
    return short.replace("('scalar', 1, False, False, None, None)", "Form()"), returns


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Fields of records stand in their section Attributes."""
    del app, what, name, skipped, options
    return True if type(obj).__name__ in ("_tuplegetter", "member_descriptor") else None


def resolve(app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
    """Single backticks are code, and a link where they name something that has a page."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removesuffix("()")
    objects = env.get_domain("py").objects
    if name := page_of(target, objects, node.get("py:module"), node.get("py:class")):
        entry = objects[name]
        uri = f"{app.builder.get_relative_uri(node['refdoc'], entry.docname)}#{entry.node_id}"
        return nodes.reference("", "", contnode, refuri=uri, internal=True, reftitle=name)
    if node.get("reftype") != "obj":
        return None
    if target.startswith("plasticity.") and not exists(target):
        LOGGER.warning("there is no %s", target, location=node, type="docstrings")
    return contnode


def page_of(target: str, objects: Any, module: str | None, inside: str | None) -> str:
    """The name under which a page shows what `target` means; empty: none does."""
    for place in ("", "plasticity.", f"{module}.", f"{inside}."):
        if place + target in objects:
            return place + target
    last = target.rpartition(".")[2]
    if not last[:1].isupper() and not target.startswith("plasticity."):
        return ""  # a common word
    # An annotation names the module that defines a record, its page the one that users import.
    alike = [n for n, entry in objects.items() if n.endswith(f".{last}") and not entry.aliased]
    if target.startswith("plasticity."):
        alike = [name for name in alike if same(name, target)]
    return alike[0] if len(alike) == 1 else ""


def found(path: str) -> Any:
    """The object of a dotted path, or None."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                thing = getattr(thing, part)
            return thing
        except (ImportError, AttributeError):
            continue
    return None


def exists(path: str) -> bool:
    """Whether a module, an object or a field of that path exists."""
    owner, _, field = path.rpartition(".")
    return found(path) is not None or field in getattr(found(owner), "__annotations__", {})


def same(one: str, other: str) -> bool:
    """Whether two paths are of one object."""
    return found(one) is not None and found(one) is found(other)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the above."""
    app.connect("autodoc-process-docstring", prepare, priority=400)
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
