"""Settings of the documentation: `make docs` builds it into docs/_build."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "elegans"
author = "The elegans authors"
copyright = author
version = release = installed_version("elegans")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "pictures",
    "reference",
]
exclude_patterns = ["_build", "_pictures"]

# Text: Markdown with formulas between dollars, docstrings in the style of numpydoc. Directives
# stand between colons, so that a fence of backticks is always code, which the tests run.
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
default_role = "py:obj"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "member-order": "bysource"}
napoleon_google_docstring = napoleon_numpy_docstring = False  # see extensions/reference.py
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = "$ "

# Names of this library that lead nowhere are errors; those of others are not looked up, because the
# build needs no network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!elegans\.).*")]

html_theme = "furo"
html_title = "elegans"
html_static_path = ["static"]
html_extra_path = ["_pictures/pages"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_show_copyright = False
