"""Settings of Sphinx: `make site` builds the pages into site/."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "napari-staligner"
author = "The napari-staligner developers"
copyright = author
version = release = version_of("napari-staligner")

extensions = [
    "myst_nb",
    "numpydoc",
    "pages",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_ext"]

# Pages
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

# Tutorials run while they are read; one that fails is a warning, and warnings end the build.
nb_execution_mode = "force"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True

# Docstrings
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False

# What is seen
html_theme = "sphinx_book_theme"
html_title = "napari-staligner"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_navbar_depth": 1,
    "home_page_in_toc": False,
    "use_download_button": False,
}
copybutton_prompt_text = "$ "

# Where links lead that cannot be asked without a browser.
linkcheck_ignore = [r"https://doi\.org/"]
linkcheck_timeout = 20
