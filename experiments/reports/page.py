"""The page of a report, from its template, and tables as LaTeX."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2

from experiments.run.checked import is_number
from experiments.sweeps.tables import Row


def page(**content: Any) -> str:
    """The HTML page of `report.html.jinja`; text is escaped."""
    return ENVIRONMENT.get_template("report.html.jinja").render(content)


def columns(rows: Sequence[Row]) -> list[str]:
    """The fields of rows, which may differ in them."""
    return list(dict.fromkeys(name for row in rows for name in row))


def cell(value: Any) -> str:
    """A value in a table: numbers with four significant digits, integers whole, None empty."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
ENVIRONMENT.filters |= {"columns": columns, "cell": cell}

SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def latex(rows: Sequence[Row]) -> str:
    """A booktabs table."""
    names = columns(rows)
    kinds = "".join("r" if is_number(rows[0].get(name)) else "l" for name in names)
    head, *lines = [
        " & ".join(cell(value).translate(SPECIAL) for value in line) + r" \\"
        for line in (names, *([row.get(name) for name in names] for row in rows))
    ]
    parts = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", head, r"\midrule", *lines]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}", ""])
