"""Keys in addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myscheduler.base.errors import UsageError
from myscheduler.base.keys import Key
from myscheduler.dashboard.keys import key_label, key_to_text, text_to_key

PARTS = (
    st.text(max_size=20)
    | st.text(alphabet="~\ud800\udfff'\"", max_size=5)
    | st.binary(max_size=20)
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
)
KEYS = st.recursive(PARTS, lambda part: st.lists(part, max_size=4).map(tuple), max_leaves=6)


@given(KEYS)
def test_every_key_has_a_text_that_names_it(key: Key) -> None:
    text = key_to_text(key)
    text.encode()
    found = text_to_key(text)
    assert found == key
    assert type(found) is type(key)
    key_label(key).encode()


@given(KEYS, KEYS)
def test_no_text_names_two_keys(one: Key, other: Key) -> None:
    if repr(one) != repr(other):
        assert key_to_text(one) != key_to_text(other)


@pytest.mark.parametrize(
    "text",
    ["~", "~{", "~null", "~true", "~NaN", '~{"hex":"0"}', '~{"hex":1}', '~{"a":"b"}', "~{}", "~[[null]]", "x" * 5000,
     "~" + "[" * 5000, f"~{2**70}"],
)  # fmt: skip
def test_texts_that_name_nothing_are_explained(text: str) -> None:
    with pytest.raises(UsageError, match=r"no key is written .* any other as ~ and JSON"):
        text_to_key(text)


def test_labels_are_short_and_can_be_printed() -> None:
    assert key_label("x" * 1000, 10) == "x" * 9 + "…"
    assert key_label("\ud800") == "'\\ud800'"
    assert key_label((b"a", 1.5)) == "(b'a', 1.5)"


@pytest.mark.parametrize("key", [" x", "x\n", "a\x00b", "", "~7", "\ud800"])
def test_what_a_query_would_lose_is_escaped(key: str) -> None:
    text = key_to_text(key)
    assert text.startswith("~")
    assert text.isascii()
    assert text.isprintable()
    assert text_to_key(text) == key
