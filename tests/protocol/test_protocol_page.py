from __future__ import annotations

import importlib.util

from myscheduler.protocol import handshake
from myscheduler.protocol.messages import SPECS
from tests.support.repository import ROOT


def test_the_table_of_messages_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("messages_table", ROOT / "docs" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.with_table(page), "run python docs/messages.py"
    assert module.table().count("\n") == len(SPECS) + 2


def test_the_sizes_of_the_handshake_are_right() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    server, client, answer = (
        handshake._SERVER_HELLO.size,
        handshake._CLIENT_HELLO.size + 32,
        handshake._SERVER_ANSWER.size,
    )
    assert f"**1. server** ({server})" in page
    assert f"**2. client** ({client})" in page
    assert f"**3. server** ({answer})" in page
