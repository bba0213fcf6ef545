"""The documentation site: Sphinx reads the Markdown pages of this folder; `reference.py` writes those of reference/.

sphinx-build -W --keep-going docs build/site
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "mcdev"
author = "The mcdev authors"
project_copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "reference"]
myst_enable_extensions = ["deflist", "attrs_block"]
myst_heading_anchors = 4
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["templates"]
autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"

highlight_language = "none"  # of a block that names no language: commands, output
html_theme = "pydata_sphinx_theme"
html_title = "mcdev"
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "show_prev_next": True}
html_sidebars = {"index": []}
