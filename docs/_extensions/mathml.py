"""Formulas as MathML, which browsers draw themselves: no script, no fonts, no network.

Sphinx's default loads MathJax from a server whenever a page is opened. Docutils, which Sphinx
requires anyway, translates LaTeX to MathML when the pages are built. A formula that it cannot
translate is a warning, which names the page and the formula.
"""

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_logger = logging.getLogger(__name__)


def _translated(node: nodes.Element, *, block: bool) -> str:
    try:
        return latex2mathml.tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        _logger.warning("formula %r: %s", node.astext(), error, location=node)
        return f"<code>{node.astext()}</code>"


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    tag = self.starttag(node, "span", "", CLASS="math notranslate nohighlight")
    self.body.append(f"{tag}{_translated(node, block=False)}</span>")
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    # A formula wider than a phone scrolls in its own box.
    scrolls = {"style": "overflow-x: auto; overflow-y: hidden"}
    tag = self.starttag(node, "div", "", CLASS="math notranslate nohighlight", **scrolls)
    self.body.append(f"{tag}{_translated(node, block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
