from __future__ import annotations

from html.parser import HTMLParser

from myscheduler.base.html import bars, facts


class Checker(HTMLParser):
    """Fails on elements that are not closed in order; collects text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag != "script"
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_facts() -> None:
    page = facts("<T>", {"<name>": "<value>", "number": 3, "none": None}, "http://h:1/?token=a&b")
    assert Checker(page).text == ["<T>", "<name>", "<value>", "number", "3", "dashboard", "http://h:1/"]
    assert 'href="http://h:1/?token=a&amp;b"' in page


def test_bars() -> None:
    page = bars([("<inc>", 0.5, 0.25, "<2/4>"), ("sum", 0, 0, "0/1")], "<1 s>")
    assert Checker(page).text == ["<inc>", "<2/4>", "sum", "0/1", "<1 s>"]
    assert page.index("width:50.0%") < page.index("width:25.0%")
