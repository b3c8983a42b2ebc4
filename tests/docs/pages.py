"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from textwrap import dedent

from tests.support.repository import read, tracked_files

PAGES = [
    path for path in tracked_files() if path.endswith(".md") and path.startswith(("README", "CONTRIBUTING", "docs/"))
]

#: ```language, perhaps after a comment <!-- not run: why -->
FENCE = re.compile(
    r"(?ms)^(?: *<!-- not run: (?P<why>[^\n]+) -->\n)?"
    r"(?P<fence> *```+)(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=fence)$"
)


@dataclass(frozen=True)
class Block:
    """One block of code.

    Parameters
    ----------
    page : str
        Path of its page from the root.
    line : int
        Where its text begins, from 1.
    language : str
        What stands behind the fence.
    text : str
        Without the fences.
    why_not_run : str, optional
        The reason, if it is marked as not to be run.
    """

    page: str
    line: int
    language: str
    text: str
    why_not_run: str | None

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order.

    >>> [block.language for block in blocks("docs/howto/cluster-by-hand.md")][:2]
    ['shell', 'shell']
    """
    text = read(page)
    found = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("text")) + 1
        found.append(Block(page, line, fence["language"].strip(), dedent(fence["text"]), fence["why"]))
    return found


def commands(block: Block) -> list[list[str]]:
    """The commands of a shell block as words: comments are left out, lines that end with a backslash joined, chains split.

    >>> commands(Block("x.md", 1, "shell", "A=1 make test # all\\nscp x node7: && ssh node7 myworker\\n", None))
    [['make', 'test'], ['scp', 'x', 'node7:'], ['ssh', 'node7', 'myworker']]
    """
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line.removeprefix("$ ")
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if word not in ("&&", "||", "|", ";", "&"):
                words.append(word)
            elif words := without_variables(words):
                found.append(words)
                words = []
    return found


def without_variables(words: list[str]) -> list[str]:
    """A command without the ``NAME=value`` in front, and without redirections behind."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    end = next((position for position, word in enumerate(words) if word.startswith((">", "<"))), len(words))
    return words[:end]
