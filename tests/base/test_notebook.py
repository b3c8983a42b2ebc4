from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest

from myscheduler.base.notebook import can_rewrite_lines, in_notebook


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("shell", "expected"),
    [(None, False), (types.SimpleNamespace(), False), (types.SimpleNamespace(kernel="a kernel"), True)],
)
def test_notebooks_are_told_from_shells(monkeypatch: pytest.MonkeyPatch, shell: Any, expected: bool) -> None:
    module = types.ModuleType("IPython")
    vars(module)["get_ipython"] = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert in_notebook() is expected
    assert can_rewrite_lines(sys.stdout) is expected
    assert not can_rewrite_lines(io.StringIO())
    assert can_rewrite_lines(Terminal())


def test_nothing_is_imported_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    assert "IPython" not in sys.modules
