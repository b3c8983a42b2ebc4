"""How Sphinx builds the site: ``make docs``. Nothing is fetched from the network, and warnings are errors."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from myscheduler import __version__

sys.path.insert(0, str(Path(__file__).parent))
from statechart import draw

project = "myscheduler"
author = "the maintainers of myscheduler"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
templates_path: list[str] = []

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types and units, in words
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

smartquotes = False  # two hyphens are an option of a command

html_theme = "furo"
html_title = f"myscheduler {release}"
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "native"


class Mermaid(Directive):
    """A state diagram, drawn here: no script has to be fetched by whoever reads the page."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The drawing in HTML, the source elsewhere."""
        source = "\n".join(self.content)
        return [nodes.raw("", draw(source), format="html")]


def add_toctree(_app: Any, docname: str, source: list[str]) -> None:
    """Make the first page's links the site's navigation, so that the page itself stays plain Markdown."""
    if docname != "index":
        return
    for part in re.split(r"(?m)^## ", source[0]):
        title = part.partition("\n")[0] if not part.startswith("#") else ""
        pages = re.findall(r"\[([^]]+)\]\(([\w/-]+)\.md\)", part)
        if pages:
            options = ":hidden:\n" + (f":caption: {title}\n" if title else "")
            source[0] += (
                f"\n```{{toctree}}\n{options}\n" + "\n".join(f"{name} <{page}>" for name, page in pages) + "\n```\n"
            )


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", add_toctree)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
