"""The documents: their links lead somewhere, and the reference names what exists."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from tests.support.repository import ROOT, read, tracked_files

DOCUMENTS = [path for path in tracked_files() if path.endswith(".md")]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(path: str) -> set[str]:
    """The names under which a document's headings can be linked.

    >>> sorted(anchors("docs/index.md"))
    ['documentation', 'how-to']
    """
    titles = re.findall(r"(?m)^#+ +(.+)$", re.sub(r"(?s)```.*?```", "", read(path)))
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path: str) -> None:
    broken = []
    for target, anchor in LINK.findall(re.sub(r"(?s)```.*?```", "", read(path))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = (ROOT / path).parent / target if target else ROOT / path
        if not file.exists():
            broken.append(target)
        elif anchor and file.suffix == ".md":
            name = PurePosixPath(file.resolve().relative_to(ROOT)).as_posix()
            if anchor not in anchors(name):
                broken.append(f"{target}#{anchor}")
    assert not broken, f"{path} links to what is not there: {broken}"


def test_changelog_fragments_are_named_by_kind() -> None:
    kinds = "feature|change|fix|removal|security"
    names = [path for path in tracked_files() if path.startswith("changelog.d/") and path != "changelog.d/README.md"]
    odd = [name for name in names if not re.fullmatch(rf"changelog\.d/[a-z0-9-]+\.({kinds})\.md", name)]
    assert not odd, f"name these <subject>.<kind>.md, see changelog.d/README.md: {odd}"


def test_the_readme_says_how_to_begin() -> None:
    readme = read("README.md")
    assert "make demo" in readme
    assert "make test" in readme
