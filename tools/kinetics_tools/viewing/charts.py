"""Charts of the figures in `statistics`, made with Altair."""

import functools
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.evaluation import Evaluation
from kinetics_tools.io import write_file
from kinetics_tools.releases import LABELS, SPLITS
from kinetics_tools.viewing import statistics

try:
    import altair as alt
    import vl_convert
except ModuleNotFoundError as error:
    message = f"charts need {error.name}: pip install altair vl-convert-python"
    raise ModuleNotFoundError(message, name=error.name) from None

_WIDTH, _HEIGHT = 420, 220
_CONFUSED = 20  # pairs of classes that are shown
_COLOURS = ["#1f6feb", "#d9730d", "#2a9d8f"]
_SPLIT = alt.Color(
    "split:N", scale=alt.Scale(domain=list(SPLITS), range=_COLOURS), title=None, legend=alt.Legend(orient="top")
)
_SHARED = alt.Scale(domainMin=0, range=["#ffffff", "#8db6f5"])  # dark text is legible on both
_FLAT = alt.Axis(labelAngle=0, labelOverlap=True)
_WHOLE = alt.Axis(tickMinStep=1)  # numbers of clips
_COUNTS = alt.X("clips:Q", title="clips", axis=_WHOLE)
STATUS_COLOURS = {
    "present": "#1f6feb",
    "missing": "#d9730d",
    "empty": "#f2c14e",
    "unreadable": "#b4232a",
    "duplicate": "#8a63d2",
    "misplaced": "#2a9d8f",
    "short": "#7fb7be",
    "unexpected": "#8b97a5",
}
"""Colour of each status."""
_UNITS = {
    "duration": "duration in seconds",
    "fps": "frames per second",
    "num_frames": "frames",
    "bytes": "size in bytes",
    "bitrate": "bits per second",
}
_VALUES = {"resolution": "width x height in pixels", "has_audio": "has sound", "codec": "codec"}


@dataclass(frozen=True)
class Chart:
    """Chart with its heading and the sentence under it.

    Attributes:
        name: file name without suffix.
        spec: Vega-Lite specification with its data.
    """

    name: str
    title: str
    caption: str
    spec: dict[str, Any]

    @property
    def fluid(self) -> dict[str, Any]:
        """Specification of the chart as wide as the element that holds it."""
        config = {**self.spec.get("config", {}), "axisX": {"labelBound": True}}
        fit = {"type": "fit-x", "contains": "padding"}
        return {**self.spec, "width": "container", "autosize": fit, "config": config}


def charts_of(clips: pa.Table, extra_columns: Sequence[str] = (), *, without: Container[str] = ()) -> list[Chart]:
    """Return a chart for each figure that the clips have values for.

    Args:
        clips: table of clips.
        extra_columns: other columns of the table to count clips by, such as of the user's metadata.
        without: names of charts that are not made.
    """
    makers: dict[str, Callable[[], Chart | None]] = {
        "status": lambda: _status(clips),
        "reasons": lambda: _reasons(clips),
        "classes": lambda: _classes(clips),
        **{name: functools.partial(_histogram, clips, name) for name in statistics.MEASURES},
        **{name: functools.partial(_values, clips, name, title) for name, title in _VALUES.items()},
        "segments": lambda: _segments(clips),
        "videos": lambda: _videos(clips),
        "overlap": lambda: _overlap(clips),
        **{name: functools.partial(_values, clips, name, name) for name in extra_columns},
    }
    charts = (make() for name, make in makers.items() if name not in without)
    return [chart for chart in charts if chart is not None]


def write_pictures(folder: Path, charts: Sequence[Chart]) -> None:
    """Write each chart as NAME.png and NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        spec = {**chart.spec, "background": "white", "title": chart.title}
        picture = vl_convert.vegalite_to_svg(spec)
        write_file(folder / f"{chart.name}.svg", picture)
        write_file(folder / f"{chart.name}.png", vl_convert.svg_to_png(picture, scale=2))


@functools.cache  # a second of work for the same megabyte
def vega_script() -> str:
    """Return JavaScript that defines `vegaEmbed`, for a script element of a page."""
    script = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub lacks the default
    return script.replace("</script", "<\\/script")


def prediction_charts(found: Evaluation) -> list[Chart]:
    """Return charts of scored predictions: the top-1 of each class, and the classes that are confused most."""
    rows = [(label, count, top1) for label, (count, top1, _) in found.per_class.items()]
    classes = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=["label", "clips", "top1"])
    x = alt.X("label:N", sort="-y", title="classes, best first", axis=alt.Axis(labels=False, ticks=False))
    bars = _bars(classes, x=x, y=alt.Y("top1:Q", title="top-1", scale=alt.Scale(domain=[0, 1])))
    bars = bars.properties(width=2 * _WIDTH + 60, height=_HEIGHT)
    caption = f"Over the clips of {found.release} {found.split}."
    charts = [_chart("top1", "Top-1 of each class", caption, classes, bars)]
    counts = found.confusion.copy()
    np.fill_diagonal(counts, 0)
    labels = LABELS[found.release]
    order = np.argsort(-counts, axis=None, kind="stable")[:_CONFUSED]
    pairs = [(int(place) // len(labels), int(place) % len(labels)) for place in order]
    pairs = [(a, b) for a, b in pairs if counts[a, b]]
    names = [f"{labels[a]} as {labels[b]}" for a, b in pairs]
    table = pa.table({"confused": names, "clips": [int(counts[a, b]) for a, b in pairs]})
    y = alt.Y("confused:N", title=None, sort="-x", axis=alt.Axis(labelLimit=300))
    caption = "Clips of one class that are predicted as another one."
    bars = _bars(table, x=_COUNTS, y=y)
    charts.append(_chart("confused", "Confused classes", caption, table, bars))
    return [chart for chart in charts if chart is not None]


def _status(clips: pa.Table) -> Chart | None:
    table = statistics.by_split(clips)
    table = table.append_column("part", pc.binary_join_element_wise(table["release"], table["split"], " "))
    colours = {name: colour for name, colour in STATUS_COLOURS.items() if name in table["status"].to_pylist()}
    table = table.append_column("rank", pc.index_in(table["status"], pa.array(colours, pa.string())))
    bars = _bars(table, x=_COUNTS, y=alt.Y("part:N", title=None, sort=None))
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    legend = alt.Legend(orient="top", columns=3)
    bars = bars.encode(color=alt.Color("status:N", title=None, scale=scale, legend=legend), order="rank:Q")
    return _chart("status", "Clips by status", "Annotated clips, and unexpected files.", table, bars)


def _reasons(clips: pa.Table) -> Chart | None:
    table = statistics.by_reason(clips)
    bars = _bars(table, x=alt.X("sum(clips):Q", title="clips", axis=_WHOLE), y=alt.Y("reason:N", title=None, sort="-x"))
    bars = bars.encode(color=_SPLIT)
    return _chart("reasons", "Why clips are not there", "Annotated clips without a usable file.", table, bars)


def _classes(clips: pa.Table) -> Chart | None:
    table = statistics.by_class(clips)
    place = alt.X("label:N", sort="-y", title="classes, most clips first", axis=alt.Axis(labels=False, ticks=False))
    area = _bars(table, x=place, y=alt.Y("present:Q", title="clips", stack="zero", axis=_WHOLE)).encode(color=_SPLIT)
    area = area.properties(width=2 * _WIDTH + 60, height=_HEIGHT)
    return _chart("classes", "Clips per class", "Clips that are present.", table, area)


def _histogram(clips: pa.Table, measure: str) -> Chart | None:
    table = statistics.distribution(clips, measure)
    x = alt.X("low:Q", title=_UNITS[measure], bin="binned")
    bars = (
        _bars(table, x=x, y=alt.Y("clips:Q", stack="zero", axis=_WHOLE))
        .encode(x2="high:Q", color=_SPLIT)
        .properties(height=_HEIGHT)
    )
    caption = "The outermost bars hold the clips beyond the axis, at most 0.5 % at each end."
    return _chart(measure, _UNITS[measure].capitalize(), caption, table, bars)


def _values(clips: pa.Table, column: str, title: str) -> Chart | None:
    table = statistics.by_value(clips, column)
    bars = _bars(table, x=alt.X("sum(clips):Q", title="clips", axis=_WHOLE), y=alt.Y("value:N", title=None, sort="-x"))
    return _chart(column, title.capitalize(), "The most frequent values.", table, bars.encode(color=_SPLIT))


def _segments(clips: pa.Table) -> Chart | None:
    table = statistics.segment_lengths(clips)
    bars = _bars(
        table, x=alt.X("seconds:O", title="seconds", axis=_FLAT), y=alt.Y("clips:Q", scale=alt.Scale(type="symlog"))
    )
    caption = "Length of the annotated segments; the vertical axis is logarithmic."
    return _chart("segments", "Segment lengths", caption, table, bars.encode(color=_SPLIT).properties(height=_HEIGHT))


def _videos(clips: pa.Table) -> Chart | None:
    table = statistics.clips_per_video(clips)
    bars = _bars(
        table, x=alt.X("clips:O", title="clips", axis=_FLAT), y=alt.Y("videos:Q", scale=alt.Scale(type="symlog"))
    )
    caption = "Kinetics was collected with one clip per video; the vertical axis is logarithmic."
    return _chart("videos", "Clips per video", caption, table, bars.encode(color=_SPLIT).properties(height=_HEIGHT))


def _overlap(clips: pa.Table) -> Chart | None:
    table = statistics.shared_videos(clips)
    table = table.filter(pc.not_equal(table["a"], table["b"]))
    order = list(dict.fromkeys(table["a"].to_pylist()))
    x, y = (alt.X("a:N", title=None, sort=order), alt.Y("b:N", title=None, sort=order))
    base = alt.Chart(_data(table)).encode(x=x, y=y, tooltip=_tooltips(table, table.column_names))
    cells = base.mark_rect().encode(color=alt.Color("videos:Q", legend=None, scale=_SHARED))
    numbers = base.mark_text().encode(text=alt.Text("videos:Q", format=","))
    caption = "Videos that two splits share: a model trained on one has seen part of the other."
    return _chart("overlap", "Shared videos", caption, table, (cells + numbers).properties(width=_WIDTH))


def _bars(table: pa.Table, **encoding: Any) -> alt.Chart:
    names = [name for name in table.column_names if name not in ("part", "rank")]
    if "split" in names:  # splits are stacked in their usual order
        table = table.append_column("place", pc.index_in(table["split"], pa.array(SPLITS)))
        encoding["order"] = alt.Order("place:Q")
    chart = alt.Chart(_data(table), width=_WIDTH).mark_bar(color=_COLOURS[0])
    return chart.encode(**encoding, tooltip=_tooltips(table, names))


def _tooltips(table: pa.Table, names: Sequence[str]) -> list[alt.Tooltip]:
    types = {name: table.schema.field(name).type for name in names}
    return [
        alt.Tooltip(name, type="nominal" if pa.types.is_string(kind) else "quantitative")
        for name, kind in types.items()
    ]


def _data(table: pa.Table) -> alt.InlineData:
    return alt.InlineData(values=table.to_pylist())


def _chart(name: str, title: str, caption: str, table: pa.Table, chart: Any) -> Chart | None:
    return Chart(name, title, caption, chart.to_dict(validate=False)) if len(table) else None
