"""Secrets are compared by ``hmac.compare_digest`` and nothing else: ``==`` tells by its time how much of a guess was right."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.repository import package_files, tree

#: Names of what nobody may guess at.
SECRET = re.compile(
    r"(?i)(^|_)(secrets?|tokens?|proofs?|signatures?|mac|digests?|cookies?|password|bearer|expected)($|_)"
)
#: Comparisons that look like it: where, what, and why they are harmless.
HARMLESS = {
    ("dashboard/auth.py", "header[:len(_BEARER)].lower() == _BEARER"): "the word before the token",
    ("deploy/health.py", "Role.OBSERVER in credentials.secrets"): "whether there is one",
    ("transport/tcp_connect.py", "handshake.peer_role is not expected"): "a role",
}


def comparisons(path: str, source: ast.AST) -> list[str]:
    """Comparisons in which something with the name of a secret stands."""
    found = []
    for node in ast.walk(source):
        parts = (node.left, *node.comparators) if isinstance(node, ast.Compare) else ()
        if any(map(_names_a_secret, parts)) and not any(map(_is_size, parts)):
            found.append(ast.unparse(node))
    return found


def _is_size(part: ast.expr) -> bool:
    return isinstance(part, ast.Call) and ast.unparse(part.func) in {"len", "type"}


def _names_a_secret(part: ast.expr) -> bool:
    name = part.attr if isinstance(part, ast.Attribute) else part.id if isinstance(part, ast.Name) else ""
    if isinstance(part, (ast.Subscript, ast.Call)):
        return _names_a_secret(
            part.value if isinstance(part, ast.Subscript) else part.func
        ) or "_BEARER" in ast.unparse(part)
    return bool(SECRET.search(name))


#: Where secrets are: who proves what to whom.
GUARDED = [
    path
    for path in package_files()
    if path in {"protocol/handshake.py", "base/credentials.py", "base/certificates.py", "cli/common.py"}
    or path.startswith(("dashboard/", "transport/", "deploy/"))
]
#: Tokens that name data, and identities that are no secrets, in files about shared memory and pipes.
IDENTITIES = ("transport/pipes.py", "transport/segments.py", "transport/shared.py", "transport/lanes.py")


@pytest.mark.parametrize("path", [path for path in GUARDED if path not in IDENTITIES])
def test_secrets_are_compared_in_constant_time(path: str) -> None:
    found = [
        text
        for text in comparisons(path, tree(path))
        if (path, text) not in HARMLESS and not text.endswith((" is None", " is not None"))
    ]
    assert not found, f"use hmac.compare_digest in {path}: {found}"


def test_the_lint_finds_what_it_looks_for() -> None:
    source = "if token == given or self._digest != x or proof in known: pass\nlen(token) < 3\nhmac.compare_digest(a, b)"
    assert comparisons("x.py", ast.parse(source)) == ["token == given", "self._digest != x", "proof in known"]


def test_both_proofs_and_both_tokens_are_compared_so() -> None:
    calls = {
        path: sum(
            isinstance(node, ast.Call) and ast.unparse(node.func) == "hmac.compare_digest"
            for node in ast.walk(tree(path))
        )
        for path in ("protocol/handshake.py", "dashboard/auth.py")
    }
    assert calls == {"protocol/handshake.py": 2, "dashboard/auth.py": 2}
