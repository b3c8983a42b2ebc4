"""Small HTML for notebooks: calm, readable on light and dark pages, without scripts or style sheets. All text is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Final

_TABLE: Final = "border-collapse:collapse;font-size:13px"
_CELL: Final = "text-align:left;padding:1px 12px 1px 0;background:none;border:none"
_FAINT: Final = "opacity:.65;font-weight:normal;white-space:nowrap"


def facts(title: str, rows: Mapping[str, object], link: str | None = None) -> str:
    """A title and a table of names and values.

    Parameters
    ----------
    title : str
        What it is.
    rows : mapping of str to object
        Facts; those that are None are left out.
    link : str, optional
        Where its dashboard is. The query stays in the link's target: a token shall not show in a picture of the notebook.

    Returns
    -------
    str
        A ``div``.

    Examples
    --------
    >>> print(facts("Future", {"key": "<x>", "type": None}))  # doctest: +ELLIPSIS
    <div ...><b>Future</b><table ...><tr><th ...>key</th><td ...>&lt;x&gt;</td></tr></table></div>
    """
    cells = [(name, html.escape(str(value))) for name, value in rows.items() if value is not None]
    if link is not None:
        shown, target = html.escape(link.partition("?")[0]), html.escape(link)
        cells.append(("dashboard", f'<a href="{target}" target="_blank" rel="noreferrer">{shown}</a>'))
    lines = [
        f'<tr><th style="{_CELL};{_FAINT}">{html.escape(name)}</th><td style="{_CELL}">{cell}</td></tr>'
        for name, cell in cells
    ]
    return (
        f'<div style="margin:4px 0"><b>{html.escape(title)}</b><table style="{_TABLE}">{"".join(lines)}</table></div>'
    )


def bars(rows: Iterable[tuple[str, float, float, str]], below: str) -> str:
    """A table of bars.

    Parameters
    ----------
    rows : iterable of tuple of (str, float, float, str)
        Name, share done and share failed (0 to 1), and what to say about it.
    below : str
        A last line.

    Returns
    -------
    str
        A ``div``.
    """
    lines = []
    for name, done, failed, text in rows:
        bar = _piece("#3b82c4", done) + _piece("#c9483b", failed)
        lines.append(
            f'<tr><th style="{_CELL};font-weight:normal">{html.escape(name)}</th><td style="{_CELL};width:320px">'
            f'<div style="display:flex;height:10px;border-radius:5px;overflow:hidden;background:rgba(128,128,128,.25)">{bar}'
            f'</div></td><td style="{_CELL};{_FAINT}">{html.escape(text)}</td></tr>'
        )
    end = f'<div style="{_FAINT};font-size:13px">{html.escape(below)}</div>'
    return f'<div style="margin:4px 0"><table style="{_TABLE}">{"".join(lines)}</table>{end}</div>'


def _piece(colour: str, share: float) -> str:
    return f'<div style="width:{100 * share:.1f}%;background:{colour}"></div>' if share else ""
