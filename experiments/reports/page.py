"""A page of HTML in one file, and tables as LaTeX: what `experiments.report` writes in."""

import base64
import html
import math
from collections.abc import Iterable, Sequence

from experiments.sweeps.tables import Row

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 72rem; margin: 0 auto; padding: 1rem; }
p, figure, figcaption { max-width: 46rem; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { margin-top: 2.5rem; font-size: 1.25rem;
     border-bottom: 1px solid #ddd; } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption, .note { font-size: .875rem; color: #444; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #e5e5e5;
         vertical-align: top; } th { border-bottom: 2px solid #999; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.supported::before { content: "\\2713\\00a0"; } .opposite::before { content: "\\2717\\00a0"; }
.supported { color: #00603f; font-weight: 600; } .opposite { color: #a33f00; font-weight: 600; }
pre { overflow-x: auto; background: #f6f6f6; padding: .6rem; font-size: .75rem; }
nav a { margin-right: 1rem; display: inline-block; }
@media print { nav { display: none; } body { max-width: none; } }
"""


class Page:
    """Grows from top to bottom; `html` is the whole of it. Text is escaped."""

    def __init__(self, title: str):
        self._title, self._parts, self._sections = title, [], []

    def section(self, title: str) -> None:
        """A heading that the navigation leads to."""
        name = f"section-{len(self._sections)}"
        self._sections.append((name, title))
        self._parts.append(f'<h2 id="{name}">{html.escape(title)}</h2>')

    def heading(self, title: str) -> None:
        """A heading within a section."""
        self._parts.append(f"<h3>{html.escape(title)}</h3>")

    def text(self, text: str, note: bool = False) -> None:
        """A paragraph."""
        kind = ' class="note"' if note else ""
        self._parts.append(f"<p{kind}>{html.escape(text)}</p>")

    def code(self, lines: Iterable[str]) -> None:
        """Lines as they are."""
        self._parts.append(f"<pre>{html.escape(chr(10).join(lines))}</pre>")

    def figure(self, svg: bytes, caption: str) -> None:
        """An image, within the page; the caption says it in words too."""
        data = base64.b64encode(svg).decode()
        told = html.escape(caption, quote=True)
        self._parts.append(
            f'<figure><img alt="{told}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{told}</figcaption></figure>"
        )

    def table(self, rows: Sequence[Row], marked: str = "") -> None:
        """Rows that share their fields; values of the field `marked` are classes of STYLE."""
        head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(_cell(v, n == marked) for n, v in row.items()) + "</tr>"
            for row in rows
        )
        self._parts.append(
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
            "</table></div>"
        )

    @property
    def html(self) -> str:
        """The page."""
        title = html.escape(self._title)
        links = "".join(f'<a href="#{name}">{html.escape(t)}</a>' for name, t in self._sections)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
            f"<nav>{links}</nav>{''.join(self._parts)}</body></html>\n"
        )


def _cell(value: object, marked: bool) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = f' class="{html.escape(str(value)).replace(" ", "-")}"' if marked else ""
        return f"<td{kind}>{html.escape('' if value is None else str(value))}</td>"
    return f'<td class="number">{number(value)}</td>'


def number(value: float) -> str:
    """Four significant digits; integers whole; what is not known is blank."""
    if math.isnan(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"


SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
}  # fmt: skip


def latex(rows: Sequence[Row]) -> str:
    """A booktabs table of rows that share their fields."""

    def escape(value: object) -> str:
        text = "" if value is None else number(value) if isinstance(value, float) else str(value)
        return "".join(SPECIAL.get(c, c) for c in text)

    columns = "".join("r" if isinstance(value, int | float) else "l" for value in rows[0].values())
    lines = [" & ".join(map(escape, row.values())) + r" \\" for row in rows]
    head = " & ".join(map(escape, rows[0])) + r" \\"
    parts = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *lines]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}", ""])
