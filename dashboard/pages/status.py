"""The first page: task stream, charts of the cluster, and the numbers for progress and workers.

The figures are Bokeh's. The numbers travel as one JSON text in a data source of the same document, and the page's script
(``static/assets/status.js``) writes them into the page as text, so nothing that users named is ever parsed as HTML.
"""

from __future__ import annotations

import json
from typing import Any, Final

from bokeh.document import Document
from bokeh.models import (
    AdaptiveTicker,
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    DataRange1d,
    DatetimeTicker,
    FixedTicker,
    HoverTool,
    NoOverlap,
    PanTool,
    Range1d,
    TapTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

from ..colours import FAILED
from ..handlers import Watched
from ..keys import key_to_text
from ..model import HISTORY, Model, Sample
from ..stream import RUNS_KEPT, RUNS_PER_UPDATE, Lane, Run

#: Updates a browser may owe us an acknowledgement for; beyond that it is left in peace, and gets the rest in one piece.
UNACKNOWLEDGED_MAX: Final = 3
#: A block of merged runs is red if more than one in so many failed.
FAILED_SHARE: Final = 50
#: Lanes up to which the axis says which worker they belong to.
LABELS_MAX: Final = 40
#: The picture is divided into at least so many lanes.
LANES_MIN: Final = 7
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_INK: Final = "#67748a"
_GRID: Final = "#edf0f4"
_RUN_COLUMNS: Final = (
    "left", "right", "y", "colour", "alpha", "name", "kind", "count", "mean", "failed", "worker", "link",
)  # fmt: skip
_SAMPLE_COLUMNS: Final = ("time", "rate", "cpu", "cpu_busiest", "memory", "managed")


def build(document: Document, source: Watched) -> None:
    """Fill the document of a new browser session, and keep it up to date until the session ends."""
    page = StatusPage(document, source.model)
    stop = source.watch(page.changed)

    def destroyed(_: object) -> None:
        page.close()
        stop()

    document.on_session_destroyed(destroyed)


class StatusPage:
    """The document of one browser session.

    Parameters
    ----------
    document : Document
        An empty one.
    model : Model
        What to show.
    """

    def __init__(self, document: Document, model: Model) -> None:
        self._document = document
        self._model = model
        self._generation = -1
        self._sequence = 0
        self._samples = 0
        self._sent = 0
        self._scheduled = False
        self._closed = False
        self.runs = ColumnDataSource(data={name: [] for name in _RUN_COLUMNS}, name="runs")
        self.history = ColumnDataSource(data={name: [] for name in _SAMPLE_COLUMNS}, name="history")
        self.numbers = ColumnDataSource(data={"json": ["{}"], "sent": [0]}, name="numbers")
        self.stream = _stream_figure(self.runs)
        self.stream.tags = [self.numbers]
        document.title = f"{model.name or 'myscheduler'}: status"
        document.config.update(reconnect_session=False, notify_connection_status=False, notifications=None)
        for root in (
            self.stream,
            _chart("rate", self.history, (("rate", "#4c78c8", True),)),
            _chart("cpu", self.history, (("cpu_busiest", "#b9c3d3", False), ("cpu", "#2f9e8f", True))),
            _chart("memory", self.history, (("memory", "#8d6cc9", True), ("managed", "#5b3fa0", False))),
        ):
            document.add_root(root)
        self.update()

    def close(self) -> None:
        """The session is gone."""
        self._closed = True

    def changed(self) -> None:
        """The model has changed: update as soon as the document's lock is free."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._document.add_next_tick_callback(self._update_if_wanted)

    def _update_if_wanted(self) -> None:
        self._scheduled = False
        if self._closed or self._sent - self._acknowledged() > UNACKNOWLEDGED_MAX:
            return
        self.update()

    def _acknowledged(self) -> int:
        """The last update that the browser has shown; it says so in the tags of the data source."""
        tags = self.numbers.tags
        return tags[0] if tags and type(tags[0]) is int else 0

    def update(self) -> None:
        """Send what is new."""
        self._update_runs()
        self._update_history()
        self._sent += 1
        text = json.dumps(self._model.page(), separators=(",", ":"))
        self.numbers.patch({"json": [(0, text)], "sent": [(0, self._sent)]})

    def _update_runs(self) -> None:
        stream = self._model.stream
        if stream.generation != self._generation or stream.sequence - self._sequence > RUNS_PER_UPDATE:
            self._arrange(stream.lanes())
            self.runs.data = self._run_columns(stream.all())
        elif stream.sequence != self._sequence:
            self.runs.stream(self._run_columns(stream.since(self._sequence)), rollover=RUNS_KEPT)
        self._generation, self._sequence = stream.generation, stream.sequence

    def _run_columns(self, runs: list[Run]) -> dict[str, Any]:
        colour_of = self._model.colours.of
        workers = self._model.workers
        return {
            "left": [run.start * 1e3 for run in runs],
            "right": [run.end * 1e3 for run in runs],
            "y": [run.lane.position for run in runs],
            "colour": [FAILED if run.failed * FAILED_SHARE > run.count else colour_of(run.kind) for run in runs],
            "alpha": [1.0 if run.count == 1 else 0.72 for run in runs],
            "name": [run.name for run in runs],
            "kind": [f"{run.kind} and others" if run.mixed else run.kind for run in runs],
            "count": [run.count for run in runs],
            "mean": [run.busy / run.count for run in runs],
            "failed": [run.failed for run in runs],
            "worker": [_lane_name(run.lane, workers) for run in runs],
            "link": [_link(run) for run in runs],
        }

    def _arrange(self, lanes: list[Lane]) -> None:
        """Fit the vertical axis to the lanes, and name the workers beside the middle of theirs."""
        # Few lanes stay in the middle instead of growing as tall as walls.
        margin = max(LANES_MIN - len(lanes), 0) / 2
        self.stream.y_range.update(start=len(lanes) - 0.5 + margin, end=-0.5 - margin)
        spans: dict[str, list[int]] = {}
        for lane in lanes:
            spans.setdefault(lane.worker, []).append(lane.position)
        shown = spans if len(spans) <= LABELS_MAX else {}
        workers = self._model.workers
        labels = {
            (positions[0] + positions[-1]) / 2: _clip(workers[worker].label if worker in workers else "(gone)")
            for worker, positions in shown.items()
        }
        axis = self.stream.yaxis[0]
        axis.update(ticker=FixedTicker(ticks=list(labels)), major_label_overrides=labels)
        self.stream.ygrid[0].ticker = FixedTicker(ticks=[positions[0] - 0.5 for positions in shown.values()][1:])

    def _update_history(self) -> None:
        model = self._model
        fresh = model.samples - self._samples
        if self._samples > model.samples or fresh > len(model.history) or self._samples == 0:
            self.history.data = _sample_columns(list(model.history))
        elif fresh:
            self.history.stream(_sample_columns(list(model.history)[-fresh:]), rollover=HISTORY)
        self._samples = model.samples


def _link(run: Run) -> str:
    """What names the task of a block on its page: ``=`` for the block's own name, nothing if it is several runs."""
    if run.count > 1 or run.key is None:
        return ""
    link = key_to_text(run.key)
    return "=" if link == run.name else link


def _lane_name(lane: Lane, workers: dict[str, Any]) -> str:
    worker = workers.get(lane.worker)
    name = worker.label if worker is not None else "a worker that has left"
    return f"{name}, thread {lane.thread}" if lane.thread < 10_000 else str(name)


def _clip(name: str, limit: int = 18) -> str:
    """A label for the axis. Bokeh would typeset what stands between ``$$`` as a formula."""
    name = name.replace("$$", "$\u200b$")
    return name if len(name) <= limit else f"…{name[1 - limit :]}"


def _sample_columns(samples: list[Sample]) -> dict[str, Any]:
    columns: dict[str, Any] = {name: [getattr(sample, name) for sample in samples] for name in _SAMPLE_COLUMNS}
    columns["time"] = [time * 1e3 for time in columns["time"]]
    return columns


def _figure(name: str, tools: list[Any], **options: Any) -> figure:
    plot = figure(
        name=name,
        sizing_mode="stretch_both",
        toolbar_location=None,
        tools=tools,
        outline_line_color=None,
        background_fill_color=None,
        border_fill_color=None,
        min_border=0,
        output_backend="canvas",
        **options,
    )
    plot.xaxis.ticker = DatetimeTicker(desired_num_ticks=6, num_minor_ticks=0)
    plot.xaxis.formatter = BasicTickFormatter(use_scientific=False)
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.update(
            axis_line_color=None,
            major_tick_line_color=None,
            minor_tick_line_color=None,
            major_label_text_color=_INK,
            major_label_text_font=_FONT,
            major_label_text_font_size="12px",
            major_label_standoff=6,
            major_label_policy=NoOverlap(),
        )
    for grid in plot.grid:
        grid.grid_line_color = _GRID
    return plot


def _stream_figure(runs: ColumnDataSource) -> figure:
    hover = HoverTool(tooltips=[("task", "@name")], point_policy="follow_mouse", show_arrow=False, name="hover")
    # A wheel that zooms would catch everybody who scrolls down the page, so it needs a key.
    zoom = WheelZoomTool(dimensions="width", modifiers={"ctrl": True})
    tools = [hover, PanTool(dimensions="width", name="pan"), zoom, TapTool(name="tap")]
    plot = _figure(
        "stream", tools, x_range=Range1d(start=0, end=30_000), y_range=Range1d(start=0.5, end=-0.5), min_border_right=8
    )
    plot.toolbar.active_scroll = zoom
    plot.xgrid.grid_line_color = _GRID
    plot.ygrid.grid_line_color = "#dfe4ea"
    plot.hbar(
        left="left",
        right="right",
        y="y",
        height=0.82,
        fill_color="colour",
        fill_alpha="alpha",
        line_color="colour",
        line_width=0.5,
        hover_line_color="#1d2733",
        nonselection_fill_alpha="alpha",
        nonselection_line_alpha=1.0,
        source=runs,
    )
    return plot


def _chart(name: str, history: ColumnDataSource, lines: tuple[tuple[str, str, bool], ...]) -> figure:
    """A small chart over the last minutes. ``lines``: column, colour, whether the area below is filled."""
    y_range = Range1d(start=0, end=105) if name == "cpu" else DataRange1d(start=0, range_padding=0.15, min_interval=1)
    plot = _figure(name, [], x_range=Range1d(start=0, end=300_000), y_range=y_range, min_border_right=8)
    plot.xgrid.grid_line_color = None
    plot.xaxis.ticker = DatetimeTicker(desired_num_ticks=3, num_minor_ticks=0)
    plot.yaxis.ticker = (
        # Round numbers of bytes are powers of two.
        AdaptiveTicker(base=1024, mantissas=[2**n for n in range(10)], desired_num_ticks=3, num_minor_ticks=0)
        if name == "memory"
        else BasicTicker(desired_num_ticks=3, num_minor_ticks=0)
    )
    for column, colour, filled in lines:
        if filled:
            plot.varea(x="time", y1=0, y2=column, fill_color=colour, fill_alpha=0.12, source=history)
        line = plot.line(x="time", y=column, line_color=colour, line_width=1.75, line_join="round", source=history)
        if column == name:
            hover = HoverTool(tooltips=[(name, "$y")], mode="vline", renderers=[line], show_arrow=False, name="hover")
            plot.add_tools(hover)
    return plot
