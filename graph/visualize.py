"""Drawing graphs."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from ..base.errors import UsageError
from ..base.keys import Key, key_prefix
from .arguments import find_refs
from .delayed import Delayed, collect
from .optimize import fuse_linear
from .task import Task, identity

_INSTALL: Final = (
    "drawing needs the graphviz package and its program `dot`: install them with `pip install graphviz` and your system's "
    "package manager (for example `apt install graphviz`), or write the graph as text with filename='graph.dot'"
)
_TEXT_FORMATS: Final = ("dot", "gv")
_LABEL_CHARS_MAX: Final = 60


def visualize(
    *collections: Any, filename: str = "graph.svg", format: str | None = None, optimize_graph: bool = False
) -> str:
    """Draw the graph behind delayed calls into a file.

    Parameters
    ----------
    *collections : object
        ``Delayed`` objects, or containers of them.
    filename : str
        Where to write. ``.dot`` and ``.gv`` are written as text and need nothing else installed.
    format : str, optional
        ``"svg"``, ``"png"``, ``"pdf"`` ...; by default the ending of ``filename``, else svg.
    optimize_graph : bool
        Whether to show the graph as ``compute`` would run it.

    Returns
    -------
    str
        The name of the file.

    Raises
    ------
    UsageError
        There is nothing to draw, or graphviz is not installed.

    Examples
    --------
    >>> from myscheduler import delayed
    >>> total = delayed(sum)([delayed(abs)(-1), delayed(abs)(-2)])
    >>> visualize(total, filename="graph.dot")
    'graph.dot'
    """
    nodes = {key: ref for key, ref in find_refs(collections).items() if isinstance(ref, Delayed)}
    if not nodes:
        raise UsageError("there is nothing to draw: no Delayed among the arguments")
    graph = collect(nodes.values())
    text = to_dot(fuse_linear(graph, nodes) if optimize_graph else graph)
    ending = PurePath(filename).suffix.lstrip(".")
    if format is None:
        format = ending or "svg"
    if not ending:
        filename = f"{filename}.{format}"
    drawing = text.encode() if format in _TEXT_FORMATS else _draw(text, format)
    with open(filename, "wb") as file:
        file.write(drawing)
    return filename


def _draw(text: str, format: str) -> bytes:
    try:
        graphviz: Any = importlib.import_module("graphviz")
    except ImportError:
        raise UsageError(_INSTALL) from None
    try:
        drawing = graphviz.Source(text).pipe(format=format)
    except graphviz.ExecutableNotFound:
        raise UsageError(_INSTALL) from None
    return bytes(drawing)


def to_dot(graph: Mapping[Key, Task]) -> str:
    """Write a graph in the language of graphviz: data as boxes, calls as circles, arrows from inputs to users.

    Parameters
    ----------
    graph : mapping of Key to Task
        What to draw. Results from elsewhere are drawn dashed.

    Returns
    -------
    str
        The text; the same for the same graph.

    Examples
    --------
    >>> print(to_dot({"x": Task(identity, (1,))}))
    digraph {
      rankdir=BT;
      n0 [label="x", tooltip="'x'", shape=box];
    }
    """
    numbers: dict[Key, int] = {key: number for number, key in enumerate(graph)}
    lines = ["digraph {", "  rankdir=BT;"]
    for key, task in graph.items():
        shape = "box" if task.func is identity else "circle"
        lines.append(f"  n{numbers[key]} [label={_label(key, task)}, tooltip={_quote(repr(key))}, shape={shape}];")
    for key, task in graph.items():
        for dependency in task.dependencies:
            if dependency not in numbers:
                numbers[dependency] = len(numbers)
                lines.append(
                    f"  n{numbers[dependency]} [label={_quote(_shorten(key_prefix(dependency)))}, "
                    f"tooltip={_quote(repr(dependency))}, shape=box, style=dashed];"
                )
            lines.append(f"  n{numbers[dependency]} -> n{numbers[key]};")
    lines.append("}")
    return "\n".join(lines)


def _label(key: Key, task: Task) -> str:
    prefix = key_prefix(key)
    name = getattr(task.func, "__name__", type(task.func).__name__)
    return _quote(_shorten(prefix if task.func is identity or name == prefix else f"{prefix}\n{name}"))


def _shorten(text: str) -> str:
    return text if len(text) <= _LABEL_CHARS_MAX else text[: _LABEL_CHARS_MAX - 3] + "..."


def _quote(text: str) -> str:
    """A string of graphviz. It knows escapes of its own after backslashes, so those are doubled; NUL it cannot hold."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + re.sub(r"[\x00-\x1f\x7f]", "?", text) + '"'
