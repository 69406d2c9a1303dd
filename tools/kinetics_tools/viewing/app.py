"""Pages about a copy of Kinetics in the browser, served on this machine: a Gradio app. Nothing in it writes."""

import os
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import map_label
from kinetics_tools.releases import LABELS, RELEASES
from kinetics_tools.text import printable
from kinetics_tools.viewing import statistics
from kinetics_tools.viewing.charts import charts_of
from kinetics_tools.viewing.filters import Filter
from kinetics_tools.viewing.predictions import wrong
from kinetics_tools.viewing.viewer import ALL, SAMPLERS, Viewer

# Gradio reads these when it is imported; it would report that it starts.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
try:
    import altair as alt
    import gradio as gr
except ModuleNotFoundError as error:
    message = f"kinetics view needs {error.name}: pip install altair gradio vl-convert-python"
    raise ModuleNotFoundError(message, name=error.name) from None

_SHOWN_WRONG = 1000
# A click on a bar asks for the clips of its status or class.
_BARS_SCRIPT = """
element.addEventListener('click', (event) => {
  const bar = event.target.closest('[data-column]');
  if (bar) trigger('select', { column: bar.dataset.column, value: bar.dataset.value });
});
"""
_BARS_STYLE = """
.bars button { display: flex; width: 100%; align-items: center; gap: 8px; border: 0; background: none; padding: 1px 0;
  cursor: pointer; text-align: left; color: inherit; font-size: 13px; }
.bars .name { flex: 0 0 42%; overflow-wrap: anywhere; }
.bars .bar { background: #1f6feb; height: 12px; min-width: 1px; }
.bars { max-height: 420px; overflow-y: auto; }
"""


def build(viewer: Viewer) -> Any:
    """Return the app: `gradio.Blocks` with a tab for each page."""
    title = f"Kinetics: {viewer.clips.source}"
    with gr.Blocks(title=printable(title), analytics_enabled=False) as app:
        gr.HTML(f"<h2>{escape(printable(title))}</h2>")
        with gr.Tabs() as tabs:
            with gr.Tab("Overview", id="overview"):
                bars = _overview(viewer)
            with gr.Tab("Clips", id="clips"):
                controls, grid = _clips_page(viewer)
            with gr.Tab("Clip", id="clip"):
                show_clip = _clip_page(viewer)
            with gr.Tab("Compare", id="compare"):
                _compare(viewer)
            if viewer.has_predictions:
                with gr.Tab("Predictions", id="predictions"):
                    _predictions(viewer)
        for bar in bars:
            bar.select(_chosen, None, [tabs, controls["status"], controls["label"]], show_progress="hidden")
        show_clip(grid, tabs)
    return app


def _chosen(event: gr.EventData) -> tuple[Any, Any, Any]:
    """Return the Clips tab with the status or the class of a bar."""
    found = event._data or {}
    column, value = found.get("column"), str(found.get("value"))
    return gr.Tabs(selected="clips"), *(value if column == name else ALL for name in ("status", "label"))


def _overview(viewer: Viewer) -> list[Any]:
    table = viewer.table
    if not len(table):
        gr.HTML("<p>There are no clips: neither annotated ones nor files.</p>")
        return []
    counts = statistics.by_split(table).to_pylist()
    gr.Dataframe(
        [list(row.values()) for row in counts], headers=list(counts[0]), label="Clips by status", interactive=False
    )
    with gr.Row():
        status = [(row["status"], row["clips"]) for row in counts]
        classes = [(row["label"], row["present"]) for row in statistics.by_class(table).to_pylist()]
        bars = [
            _bars("status", "Clips by status: click to see them", status),
            _bars("label", "Clips per class: click to see them", classes),
        ]
    charts = charts_of(table, without=("status", "classes"))
    for first in range(0, len(charts), 2):
        with gr.Row():
            for chart in charts[first : first + 2]:
                with gr.Column():
                    gr.HTML(f"<h3>{escape(chart.title)}</h3><p>{escape(chart.caption)}</p>")
                    gr.Plot(alt.Chart.from_dict(chart.spec), show_label=False, container=False)
    return bars


def _bars(column: str, title: str, counts: Sequence[tuple[str, int]]) -> Any:
    """Return horizontal bars, a button each."""
    totals: dict[str, int] = {}
    for name, count in counts:
        totals[name] = totals.get(name, 0) + count
    most = max(totals.values(), default=1) or 1
    rows = ""
    for name, count in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        shown, width = escape(name, quote=True), f"{45 * count / most:.1f}%"
        rows += f'<button data-column="{column}" data-value="{shown}"><span class="name">{shown}</span>'
        rows += f'<span class="bar" style="width:{width}"></span><span>{count:,}</span></button>'
    content = f'<h3>{escape(title)}</h3><div class="bars">{rows}</div>'
    return gr.HTML(content, js_on_load=_BARS_SCRIPT, css_template=_BARS_STYLE, elem_id=f"bars-{column}")


def _clips_page(viewer: Viewer) -> tuple[dict[str, Any], Any]:
    with gr.Row():
        controls: dict[str, Any] = {
            "text": gr.Textbox(label="Search by id", scale=2),
            "label": gr.Dropdown(viewer.choices("label"), value=ALL, label="Class", filterable=True, scale=2),
            "status": gr.Dropdown(viewer.choices("status"), value=ALL, label="Status"),
            "split": gr.Dropdown(viewer.choices("split"), value=ALL, label="Split"),
            "release": gr.Dropdown(viewer.choices("release"), value=ALL, label="Release"),
        }
    with gr.Row():
        controls["resolution"] = gr.Dropdown(viewer.resolutions(), value=ALL, label="Resolution")
        controls["audio"] = gr.Dropdown([ALL, "with sound", "without sound"], value=ALL, label="Sound")
        controls["least"] = gr.Number(0, label="Shortest, in seconds", minimum=0)
        controls["most"] = gr.Number(viewer.longest, label="Longest, in seconds", minimum=0)
        judged = [ALL, "right", "wrong"] if viewer.has_predictions else [ALL]
        controls["prediction"] = gr.Dropdown(judged, value=ALL, label="Prediction", visible=viewer.has_predictions)
    with gr.Row():
        page = gr.Number(1, label="Page", precision=0, minimum=1)
        # Not by a `load` event, which would end after a first click and undo it.
        posters, text, first = viewer.page(Filter(), 1)
        count = gr.HTML(text)
    options = {"columns": 6, "height": "auto", "object_fit": "contain", "allow_preview": False}
    grid, rows = gr.Gallery(posters, label="Clips", elem_id="grid", **options), gr.State(first)
    names = list(controls)

    def shown(number: float | None, *values: Any) -> tuple[Any, str, list[int]]:
        return viewer.page(_filter(dict(zip(names, values, strict=True)), viewer.longest), int(number or 1))

    outputs = [grid, count, rows]
    for control in controls.values():
        control.change(
            lambda *values: (1, *shown(1, *values)), [*controls.values()], [page, *outputs], show_progress="hidden"
        )
    page.change(shown, [page, *controls.values()], outputs, show_progress="hidden")
    return controls, (grid, rows)


def _filter(values: dict[str, Any], longest: int) -> Filter:
    chosen = {name: None if value == ALL else value for name, value in values.items()}
    sound = None if chosen["audio"] is None else chosen["audio"] == "with sound"
    exact = {name: chosen[name] for name in ("release", "split", "label", "status", "resolution", "prediction")}
    least, most = chosen["least"] or None, chosen["most"]
    # Without a bound, clips of unknown duration are shown, too.
    seconds = (least, most if most is not None and most < longest else None)
    return Filter(**exact, text=chosen["text"] or "", seconds=seconds, has_audio=sound)


def _clip_page(viewer: Viewer) -> Callable[[Any, Any], None]:
    chosen = gr.State(None)
    with gr.Row():
        player = gr.Video(label="Clip", elem_id="player", autoplay=False, interactive=False)
        facts = gr.HTML("<p>Choose a clip in the tab Clips.</p>", elem_id="facts")
    with gr.Row():
        name = gr.Dropdown(list(SAMPLERS), value="UniformClips", label="Sampler")
        frames = gr.Slider(1, 64, value=16, step=1, label="Frames")
        stride = gr.Slider(1, 16, value=4, step=1, label="Stride")
        clips = gr.Slider(1, 10, value=1, step=1, label="Clips")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    picture = gr.HTML(elem_id="timeline")
    strip = gr.Gallery(
        columns=8, height="auto", allow_preview=False, label="Frames of the first sampled clip", elem_id="strip"
    )
    settings = [name, frames, stride, clips, seed]

    def sampled(row: int | None, kind: str, frames: int, stride: int, clips: int, seed: int) -> tuple[str, list[Any]]:
        return (
            ("", []) if row is None else viewer.sampled(row, kind, int(frames), int(stride), int(clips), int(seed or 0))
        )

    def choose(
        rows: list[int], kind: str, frames: int, stride: int, clips: int, seed: int, event: gr.SelectData
    ) -> tuple[Any, ...]:
        row = rows[event.index]
        found = sampled(row, kind, frames, stride, clips, seed)
        return gr.Tabs(selected="clip"), row, viewer.video(row), viewer.facts(row), *found

    for control in settings:
        control.change(sampled, [chosen, *settings], [picture, strip], show_progress="hidden")

    def connect(grid: tuple[Any, Any], tabs: Any) -> None:
        gallery, rows = grid
        outputs = [tabs, chosen, player, facts, picture, strip]
        gallery.select(choose, [rows, *settings], outputs, show_progress="hidden")

    return connect


def _compare(viewer: Viewer) -> None:
    if viewer.other is not None:
        names = [viewer.clips.source, viewer.other.source]
        gr.HTML(f"<p>Videos of {escape(printable(names[0]))} (a) and of {escape(printable(names[1]))} (b).</p>")
        tables = [
            clips.table.select(["release", "split", "youtube_id", "status"]) for clips in (viewer.clips, viewer.other)
        ]
        marked = [
            table.set_column(0, "release", pc.binary_join_element_wise(mark, table["release"], " "))
            for mark, table in zip("ab", tables, strict=True)
        ]
        shared = statistics.shared_videos(pa.concat_tables(marked))
        gr.Dataframe(
            [list(row.values()) for row in shared.to_pylist()],
            headers=["first", "second", "shared videos"],
            interactive=False,
        )
    with gr.Row():
        first = gr.Dropdown(list(RELEASES), value="400", label="From release")
        second = gr.Dropdown(list(RELEASES), value="700", label="To release")
    table = gr.Dataframe(
        _label_map("400", "700"), headers=["class", "in the other release", "change"], interactive=False
    )
    for control in (first, second):
        control.change(_label_map, [first, second], table, show_progress="hidden")


def _label_map(source: str, target: str) -> list[list[str]]:
    """Return each class of a release with its name in another one; then the classes that only the other one has."""
    rows, met = [], set()
    for label in LABELS[source]:
        name = map_label(label, source, target)
        met.add(name)
        change = "removed" if name is None else "same" if name == label else "renamed"
        rows.append([label, name or "", change])
    rows += [["", name, "new"] for name in LABELS[target] if name not in met]
    return sorted(rows, key=lambda row: row[2] == "same")


def _predictions(viewer: Viewer) -> None:
    judged = pc.drop_null(viewer.table["prediction"])
    right = pc.sum(pc.equal(judged, "right")).as_py() or 0
    gr.HTML(f"<p>top-1 {right / max(len(judged), 1):.2%} over {len(judged):,} scored clips</p>")
    found = wrong(viewer.table)
    rows = [["" if cell is None else cell for cell in row.values()] for row in found.slice(0, _SHOWN_WRONG).to_pylist()]
    label = f"Wrong predictions: {min(len(found), _SHOWN_WRONG):,} of {len(found):,}"
    gr.Dataframe(rows, headers=["clip", "class", "predicted", "rank of the class"], label=label, interactive=False)


def serve(viewer: Viewer, *, host: str = "127.0.0.1", port: int | None = None, open_browser: bool = False) -> Any:
    """Serve the app until the process ends or `close()` of the result is called; its `local_url` is the address.

    Args:
        viewer: the clips.
        host: address to listen on. Any but a loopback address lets other machines watch the clips.
        port: port; None for a free one from 7860 on.
        open_browser: open a browser.
    """
    app = build(viewer)
    app.launch(
        server_name=host,
        server_port=port,
        inbrowser=open_browser,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        allowed_paths=[str(viewer.cache)],
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )
    return app
