"""How Sphinx builds these pages."""

from importlib.metadata import version as version_of

project = "sansio-socketio"
author = "The sansio-socketio authors"
copyright = f"2026, {author}"
version = release = version_of("sansio-socketio")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"{project} {version}"
