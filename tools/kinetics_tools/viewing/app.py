"""Pages about a copy of Kinetics in the browser, served on this machine: a Gradio app. Nothing in it writes."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import map_label
from kinetics_tools.evaluation import Evaluation
from kinetics_tools.releases import LABELS, RELEASES
from kinetics_tools.text import printable
from kinetics_tools.viewing import html, statistics
from kinetics_tools.viewing.charts import STATUS_COLOURS, Chart, prediction_charts
from kinetics_tools.viewing.filters import Filter
from kinetics_tools.viewing.notes import notes_of
from kinetics_tools.viewing.predictions import wrong
from kinetics_tools.viewing.viewer import ALL, SAMPLERS, Viewer

# Gradio reads these when it is imported; it would report that it starts.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
try:
    import gradio as gr
    from gradio.components.plot import PlotData
except ModuleNotFoundError as error:
    message = f"kinetics view needs {error.name}: pip install altair gradio vl-convert-python"
    raise ModuleNotFoundError(message, name=error.name) from None

_FONT = ["system-ui", "sans-serif"]
_SHOWN_WRONG = 1000
# A click on a bar asks for the clips of its status or class.
_BARS_SCRIPT = """
element.addEventListener('click', (event) => {
  const bar = event.target.closest('[data-column]');
  if (bar) trigger('select', { column: bar.dataset.column, value: bar.dataset.value });
});
"""


def build(viewer: Viewer) -> Any:
    """Return the app: `gradio.Blocks` with a tab for each page."""
    with gr.Blocks(title=f"Kinetics: {printable(viewer.clips.source)}", analytics_enabled=False) as app:
        gr.HTML(html.heading(viewer.title, viewer.clips.source, notes_of(viewer.clips)))
        with gr.Tabs() as tabs:
            with gr.Tab("Overview", id="overview"):
                bars = _overview(viewer)
            with gr.Tab("Clips", id="clips"):
                controls, grid, rows = _clips_page(viewer)
            with gr.Tab("Clip", id="clip"):
                show, settings, outputs = _clip_page(viewer)
            with gr.Tab("Compare", id="compare"):
                _compare(viewer)
            wrong_clips = None
            if viewer.scores is not None:
                with gr.Tab("Predictions", id="predictions"):
                    wrong_clips = _predictions(viewer, viewer.scores)
        for bar in bars:
            bar.select(_chosen, None, [tabs, controls["status"], controls["label"]], show_progress="hidden")

        def chosen(event: gr.SelectData, rows: list[int], *values: Any) -> tuple[Any, ...]:
            return gr.Tabs(selected="clip"), *show(rows[event.index], *values)

        def named(event: gr.SelectData, *values: Any) -> tuple[Any, ...]:
            return gr.Tabs(selected="clip"), *show(viewer.find(event.row_value[0]), *values)

        grid.select(chosen, [rows, *settings], [tabs, *outputs], show_progress="hidden")
        if wrong_clips is not None:
            wrong_clips.select(named, settings, [tabs, *outputs], show_progress="hidden")
    return app


def _chosen(event: gr.EventData) -> tuple[Any, Any, Any]:
    """Return the Clips tab with the status or the class of a bar."""
    found = event._data or {}
    column, value = found.get("column"), str(found.get("value"))
    return gr.Tabs(selected="clips"), *(value if column == name else ALL for name in ("status", "label"))


def _overview(viewer: Viewer) -> list[Any]:
    table = viewer.table
    if not len(table):
        return []
    gr.HTML(html.tiles(html.totals(table)))
    present = {label: 0 for name in viewer.releases for label in LABELS[name]}
    for row in statistics.by_class(table).to_pylist():
        present[row["label"]] += row["present"]
    status = [(row["status"], row["clips"]) for row in statistics.by_split(table).to_pylist()]
    shown = {
        "status": ("Clips by status: click to see them", status, STATUS_COLOURS),
        "label": ("Clips per class: click to see them", list(present.items()), {}),
    }
    bars = []
    with gr.Row():
        for column, about in shown.items():
            with gr.Column(min_width=320):
                bars.append(gr.HTML(html.bars(column, *about), js_on_load=_BARS_SCRIPT, elem_id=f"bars-{column}"))
    splits = statistics.by_status(table)
    gr.HTML("<h3>Splits</h3>" + html.table([list(row.values()) for row in splits], list(splits[0])))

    # When a browser asks: of 650,000 clips, they take a second.
    gr.render(show_progress="hidden")(lambda: _draw(viewer.charts()))
    return bars


def _draw(charts: Sequence[Chart]) -> None:
    for first in range(0, len(charts), 2):
        with gr.Row():
            for chart in charts[first : first + 2]:
                with gr.Column(min_width=320):
                    gr.HTML(f"<h3>{html.text(chart.title)}</h3><p class='faint'>{html.text(chart.caption)}</p>")
                    # Not an object of Altair, which would check the chart again.
                    gr.Plot(PlotData(type="altair", plot=json.dumps(chart.fluid)), show_label=False, container=False)


def _clips_page(viewer: Viewer) -> tuple[dict[str, Any], Any, Any]:
    """Return the controls by name, the grid, and the state with the rows that it shows."""

    def menu(label: str, choices: Sequence[str], **options: Any) -> Any:
        return gr.Dropdown(choices, value=ALL, label=label, min_width=140, visible=len(choices) > 2, **options)

    with gr.Row():
        controls: dict[str, Any] = {
            "text": gr.Textbox(label="Search by id", scale=2, min_width=200),
            "label": gr.Dropdown(viewer.choices("label"), value=ALL, label="Class", scale=2, min_width=200),
            **{name: menu(name.capitalize(), viewer.choices(name)) for name in ("status", "split", "release")},
        }
    with gr.Row():
        controls["resolution"] = menu("Resolution", viewer.resolutions())
        controls["audio"] = menu("Sound", [ALL, "with sound", "without sound"])
        controls["least"] = gr.Number(0, label="Shortest, in seconds", minimum=0, min_width=140)
        controls["most"] = gr.Number(viewer.longest, label="Longest, in seconds", minimum=0, min_width=140)
        judged = [ALL, "right", "wrong"] if viewer.scores is not None else [ALL]
        controls["prediction"] = menu("Prediction", judged)
    # Not by a `load` event, which would end after a first click and undo it.
    posters, text, first = viewer.page(Filter(), 1)
    count = gr.HTML(text)
    with gr.Row(elem_id="pager"):
        previous = gr.Button("Previous", size="sm", min_width=90, scale=0)
        page = gr.Number(1, label="Page", precision=0, minimum=1, scale=0, container=False, elem_id="page")
        following = gr.Button("Next", size="sm", min_width=90, scale=0)
    grid = gr.Gallery(
        posters,
        show_label=False,
        elem_id="grid",
        columns=6,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        buttons=[],
    )
    rows = gr.State(first)
    names = list(controls)

    def shown(number: float | None, *values: Any) -> tuple[Any, str, list[int]]:
        return viewer.page(_filter(dict(zip(names, values, strict=True)), viewer.longest), int(number or 1))

    outputs = [grid, count, rows]
    for control in controls.values():
        control.change(
            lambda *values: (1, *shown(1, *values)), [*controls.values()], [page, *outputs], show_progress="hidden"
        )
    page.change(shown, [page, *controls.values()], outputs, show_progress="hidden")
    previous.click(lambda number: max((number or 1) - 1, 1), page, page, show_progress="hidden")
    following.click(lambda number: (number or 1) + 1, page, page, show_progress="hidden")
    return controls, grid, rows


def _filter(values: dict[str, Any], longest: int) -> Filter:
    chosen = {name: None if value == ALL else value for name, value in values.items()}
    sound = None if chosen["audio"] is None else chosen["audio"] == "with sound"
    exact = {name: chosen[name] for name in ("release", "split", "label", "status", "resolution", "prediction")}
    least, most = chosen["least"] or None, chosen["most"]
    # Without a bound, clips of unknown duration are shown, too.
    seconds = (least, most if most is not None and most < longest else None)
    return Filter(**exact, text=chosen["text"] or "", seconds=seconds, has_audio=sound)


def _clip_page(viewer: Viewer) -> tuple[Callable[..., tuple[Any, ...]], list[Any], list[Any]]:
    """Return a function that shows the clip in a row, its other inputs, and its outputs."""
    chosen = gr.State(None)
    with gr.Row():
        with gr.Column(min_width=320):
            player = gr.Video(elem_id="player", interactive=False, height=340, buttons=[], show_label=False)
        with gr.Column(min_width=320):
            facts = gr.HTML("<p>Choose a clip in the tab Clips.</p>", elem_id="facts")
    gr.HTML("<h3>Frames that a sampler takes</h3>")
    with gr.Row():
        name = gr.Dropdown(list(SAMPLERS), value="UniformClips", label="Sampler", min_width=160)
        frames = gr.Slider(1, 64, value=16, step=1, label="Frames", min_width=160)
        stride = gr.Slider(1, 16, value=4, step=1, label="Stride", min_width=160)
        clips = gr.Slider(1, 10, value=1, step=1, label="Clips", min_width=160)
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100)
    picture = gr.HTML(elem_id="timeline")
    gr.HTML("<p class='faint'>Frames of the first sampled clip, at most 16.</p>")
    strip = gr.Gallery(
        columns=8, height="auto", allow_preview=False, show_label=False, elem_id="strip", buttons=[], object_fit="cover"
    )
    settings = [name, frames, stride, clips, seed]

    def sampled(row: int | None, kind: str, frames: int, stride: int, clips: int, seed: int) -> tuple[str, list[Any]]:
        return (
            ("", []) if row is None else viewer.sampled(row, kind, int(frames), int(stride), int(clips), int(seed or 0))
        )

    def show(row: int, *values: Any) -> tuple[Any, ...]:
        return row, viewer.video(row), viewer.facts(row), *sampled(row, *values)

    for control in settings:
        control.change(sampled, [chosen, *settings], [picture, strip], show_progress="hidden")
    return show, settings, [chosen, player, facts, picture, strip]


def _compare(viewer: Viewer) -> None:
    tables = [viewer.table.select(["release", "split", "youtube_id", "status"])]
    if viewer.other is not None:
        tables.append(viewer.other.table.select(tables[0].column_names))
        names = [viewer.clips.source, viewer.other.source]
        about = html.text(f"a: {names[0]}, b: {names[1]}")
        gr.HTML(f"<h3>Shared videos</h3><p class='faint'>{about}</p>{html.box(notes_of(viewer.other))}")
        tables = [
            table.set_column(0, "release", pc.binary_join_element_wise(mark, table["release"], " "))
            for mark, table in zip("ab", tables, strict=True)
        ]
    else:
        gr.HTML("<h3>Shared videos</h3><p class='faint'>--compare SOURCE adds the splits of another copy.</p>")

    # When a browser asks: the ids of 650,000 clips are compared.
    gr.render(show_progress="hidden")(lambda: gr.HTML(_matrix(statistics.shared_videos(pa.concat_tables(tables)))))
    gr.HTML("<h3>Classes of two releases</h3>")
    target = viewer.releases[-1] if viewer.releases else RELEASES[-1]
    source = next(name for name in RELEASES if name != target)
    with gr.Row():
        first = gr.Dropdown(list(RELEASES), value=source, label="From release", min_width=160)
        second = gr.Dropdown(list(RELEASES), value=target, label="To release", min_width=160)
    classes = gr.HTML(_classes(source, target), elem_id="classes")
    for control in (first, second):
        control.change(_classes, [first, second], classes, show_progress="hidden")


def _matrix(shared: pa.Table) -> str:
    """Return the number of shared videos of each two splits as HTML."""
    rows: dict[str, list[Any]] = {}
    for row in shared.to_pylist():
        rows.setdefault(row["a"], [row["a"]]).append(row["videos"])
    return html.table(rows.values(), ["videos", *rows]) if rows else "<p>There are no annotated clips.</p>"


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


def _classes(source: str, target: str) -> str:
    """Return the classes of two releases as HTML, the changed ones first."""
    rows = _label_map(source, target)
    changes = Counter(row[2] for row in rows)
    counts = ", ".join(f"{changes[name]:,} {name}" for name in ("same", "renamed", "removed", "new"))
    return f"<p>{counts}</p>{html.table(rows, [f'class of {source}', f'class of {target}', 'change'])}"


def _predictions(viewer: Viewer, scores: Evaluation) -> Any:
    gr.HTML("".join(f"<p>{html.text(line)}</p>" for line in scores.lines()[:5]), elem_id="scores")
    gr.render(show_progress="hidden")(lambda: _draw(prediction_charts(scores)))
    found = wrong(viewer.table)
    rows = [["" if cell is None else cell for cell in row.values()] for row in found.slice(0, _SHOWN_WRONG).to_pylist()]
    label = f"Wrong predictions, the worst first: {min(len(found), _SHOWN_WRONG):,} of {len(found):,}; click to play"
    headers = ["clip", "class", "predicted", "rank of the class"]
    return gr.Dataframe(rows, headers=headers, label=label, interactive=False, elem_id="wrong", buttons=[])


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
        footer_links=[],
        allowed_paths=[str(viewer.cache)],
        css=files("kinetics_tools.viewing").joinpath("static").joinpath("view.css").read_text(encoding="utf-8"),
        theme=gr.themes.Default(primary_hue="blue", font=_FONT, font_mono=_FONT),
    )
    return app
