"""How Sphinx builds these pages. It needs no network."""

from importlib.metadata import version as version_of

project = "sansio-socketio"
author = "The sansio-socketio authors"
copyright = f"2026, {author}"
version = release = version_of("sansio-socketio")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "code"  # what stands in `backticks` in a docstring
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_custom_sections = [("Keys", "params_style")]  # of a TypedDict
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"{project} {version}"
