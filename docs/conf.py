"""Sphinx: `python -m sphinx -W --keep-going -b html docs docs/_build`, with the extra `docs`."""

import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_extensions"))

project = "plasticity"
author = "the authors of plasticity"
release = importlib.metadata.version("plasticity")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
]
exclude_patterns = ["_build", "jupyter_execute", ".jupyter_cache"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
# A notebook runs again only when it has changed; an error in a cell ends the build.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 600

html_theme = "sphinx_book_theme"
html_title = "plasticity"
