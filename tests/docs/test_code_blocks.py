"""Every block of code in the documentation works.

Python runs: the blocks of a page in order, in one namespace, as a reader would type them. Of commands, those of the pages in
``RUN`` are started for real; of all others, at least options, targets and modules must exist.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib.util
import inspect
import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from myscheduler import LocalCluster, UsageError, config, default_client
from myscheduler.cli.scheduler import main as myscheduler
from myscheduler.cli.worker import main as myworker
from tests.docs.pages import PAGES, Block, blocks, commands
from tests.docs.terminals import Terminals
from tests.support.repository import ROOT, read

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LANGUAGES = {"python", "shell", "console", "text", "mermaid", "yaml", "dockerfile", "ini", "json", "{eval-rst}"}
#: In a console, commands begin with a dollar and the rest is what they print.
SHELLS = {"shell", "console"}

#: Readers may wait for a second; the tests have no time.
SHORTER = (("sleep(1)", "sleep(0.05)"),)

#: Pages whose commands are started, and what stands for the names of machines in them.
RUN: dict[str, dict[str, str]] = {
    "docs/howto/cluster-by-hand.md": {},
    "docs/howto/several-machines.md": {"alpha": "127.0.0.1"},
    "docs/security.md": {"10.0.0.5": "127.0.0.1"},
}

#: Python blocks that are marked as not to be run. The mark says why; this says how many there are.
NOT_RUN = {"docs/howto/docker-compose.md": 1}

#: Programs of others: nothing about them can be checked here.
FOREIGN = set(". cd cp curl docker export git journalctl pip printf scp ssh sudo systemctl".split())
OURS = {"myscheduler": myscheduler, "myworker": myworker}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language(page: str) -> None:
    odd = [f"{block.place} {block.language!r}" for block in blocks(page) if block.language not in LANGUAGES]
    assert not odd, f"write one of {sorted(LANGUAGES)} behind the fence: {odd}"


def test_what_is_not_run_is_counted() -> None:
    skipped = [block for page in PAGES for block in blocks(page) if block.why_not_run and block.language == "python"]
    counts: dict[str, int] = {}
    for block in skipped:
        counts[block.page] = counts.get(block.page, 0) + 1
    assert counts == NOT_RUN


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language in SHELLS for block in blocks(page))])
def test_commands_exist(page: str) -> None:
    wrong = [
        f"{block.place}: {problem}"
        for block in blocks(page)
        if block.language in SHELLS
        for words in commands(block)
        if (problem := problem_with(words))
    ]
    assert not wrong, wrong


def test_files_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instructions = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR"}
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "dockerfile":
            assert {line.split()[0] for line in block.text.splitlines()} <= instructions, block.place
        elif block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict), block.place
            if block.page == "docs/howto/configure.md":
                file = tmp_path / "config.yaml"
                file.write_text(block.text)
                monkeypatch.setenv("MYSCHEDULER_CONFIG", str(file))
                config.refresh()  # refuses unknown keys and wrong types
    monkeypatch.undo()
    config.refresh()


@pytest.mark.parametrize("page", [page for page in PAGES if any(block.language == "python" for block in blocks(page))])
def test_python_runs(page: str, terminals: Terminals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = RUN.get(page, {}) | {"8786": str(free_port())}
    with Reader(names) as reader:
        for block in blocks(page):
            if block.why_not_run:
                continue
            if block.language == "python":
                reader.run(block)
            elif block.language == "shell" and page in RUN:
                for words in commands(block):
                    terminals.run([reader.put_in(word) for word in words], names["8786"])
    terminals.close()
    assert not reader.reports, "\n".join(reader.reports)


@pytest.fixture
def terminals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminals]:
    """The reader's home and terminals, so that the tests do not touch ours."""
    for name in ("MYSCHEDULER_SCHEDULER_ADDRESS", "MYSCHEDULER_SCHEDULER_FILE", "MYSCHEDULER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MYSCHEDULER_HOME", str(tmp_path / ".myscheduler"))
    opened = Terminals(tmp_path)
    yield opened
    opened.close()


class Reader:
    """Types the Python blocks of one page.

    Parameters
    ----------
    names : dict
        What stands for names of machines, and for the usual port.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.reports: list[str] = []
        self._loop = asyncio.Runner()

    def put_in(self, text: str) -> str:
        """The text with the names of these machines, and with shorter naps."""
        for name, value in self.names.items():
            text = re.sub(rf"\b{re.escape(name)}\b", value, text)
        for long, short in SHORTER:
            text = text.replace(long, short)
        return text

    def run(self, block: Block) -> None:
        """Run one block: as a session with expected output, or as a piece of a program."""
        text = self.put_in(block.text)
        if ">>> " in text:
            test = doctest.DocTestParser().get_doctest(text, self.namespace, block.place, block.page, block.line)
            test.globs = self.namespace  # not a copy: what one block defines, the next ones need
            doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(
                test, out=self.reports.append, clear_globs=False
            )
            return
        code = compile(text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        outcome = eval(code, self.namespace)
        if inspect.iscoroutine(outcome):
            self._loop.run(outcome)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.close()
        with suppress(UsageError):  # there is none any more
            while True:
                default_client().close()
        for value in self.namespace.values():
            if isinstance(value, LocalCluster):
                value.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# ---- commands -------------------------------------------------------------------------------------------------------


def problem_with(words: list[str]) -> str:
    """What is wrong with a command; nothing if all is well, or nothing can be said.

    >>> problem_with(["myworker", "--nworker", "2"])
    "myworker: No such option '--nworker'. Did you mean '--nworkers'?"
    >>> problem_with(["make", "docs"]), problem_with(["make", "coffee"])
    ('', 'make: no target coffee')
    """
    # Ours may be what another program is told to run: ssh, docker.
    inner = max((position for position, word in enumerate(words) if word in OURS), default=-1)
    if inner >= 0:
        return problem_with_ours(words[inner:])
    program, *arguments = words
    if program in FOREIGN:
        return ""
    if program == "make":
        targets = re.findall(r"(?m)^([a-z-]+):", read("Makefile"))
        unknown = [word for word in arguments if "=" not in word and word not in targets]
        return f"make: no target {' '.join(unknown)}" if unknown else ""
    if program == "python" and arguments[:1] == ["-m"]:
        return "" if importlib.util.find_spec(arguments[1]) else f"python: no module {arguments[1]}"
    if program in ("python", ".ci/run"):
        script = next((word for word in [*arguments, program] if not word.startswith("-")), program)
        return "" if script == "python" or (ROOT / script).exists() else f"{program}: no file {script}"
    return f"{program}: unknown here; add it to FOREIGN if it is another's program"


def problem_with_ours(words: list[str]) -> str:
    program, *arguments = words
    try:
        OURS[program].make_context(program, list(arguments))
    except click.exceptions.Exit:
        return ""  # --help, --version
    except click.ClickException as error:
        return f"{program}: {error.format_message()}"
    return ""
