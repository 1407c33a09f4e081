"""Settings of the documentation site: ``tox -e docs`` builds it."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "site"))

project = "napari-exo2micro"
author = "napari-exo2micro developers"
project_copyright = author
# A build between two releases carries a commit and a date: no reader needs them.
release = installed_version("napari-exo2micro").split("+")[0]
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "diagnostic_examples",
    "formulas",
    "house",
    "parameter_role",
    "parameter_table",
]
exclude_patterns = ["_build", "site"]

# Notebooks keep their outputs: ``docs/make_example_outputs.py`` runs them.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
# Written as parameters are: several names may share a line.
napoleon_custom_sections = [("Attributes", "params_style")]
# Types are words: `shape` is not one of our names.
napoleon_use_param = False
# `Name` in a docstring links to what it names.
default_role = "py:obj"

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "napari-exo2micro"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
