"""Sphinx: `python -m sphinx -W --keep-going -b html docs docs/_build`, with the extra `docs`."""

import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_extensions"))

project = "plasticity"
author = "the authors of plasticity"
release = importlib.metadata.version("plasticity")

# There is no intersphinx: it fetches lists of other projects' objects while it builds, so that the
# pages, and whether the build passes, would depend on the network. Names of JAX, Flax and Python
# are therefore shown without a link.
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "mathml",
    "registries",
]
# Executed notebooks stand beside the pages when the build stands among them.
exclude_patterns = ["_build", "_extensions", "jupyter_execute", ".jupyter_cache"]

# Every reference has to resolve, but for those to other projects.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(jax|jaxlib|flax|optax|numpy|np|matplotlib|ml_collections)(\..+)?"),
    (r"py:.*", r"(collections|typing|functools|os|pathlib|enum|nn)(\..+)?"),
    (
        r"py:class",
        r"(.*\.)?(Array|PyTree|Key|Scalar|DType|Periods|T|S)",
    ),  # aliases and type variables
    (r"py:(class|exc|obj)", r"[a-z]+|[A-Z]\w*(Error|Interrupt|Exit)|None|Any"),  # Python's own
]

# Single backticks are code; see the extension `docstrings`.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# Signatures name and default the arguments; types, shapes and meaning stand below them.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
# A notebook runs again only when it has changed; an error in a cell ends the build.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 600

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "sphinx_book_theme"
html_title = "plasticity"
html_static_path = ["_static"]
html_css_files = ["api.css"]
html_theme_options = {"show_toc_level": 2}
