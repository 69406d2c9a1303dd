"""The static page of a report: one HTML file that opens from a disk, without a network."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from kinetics_tools.io import write_file
from kinetics_tools.text import printable
from kinetics_tools.viewing.charts import Chart, vega_script

_PACKAGE = files("kinetics_tools.viewing")
BEGINNING = rb"<!doctype html>\s*<html lang=\"en\" data-made-by=\"kinetics report\">"
"""Regular expression that the beginning of a page matches."""


def write_page(path: Path, *, charts: Sequence[Chart], data: Mapping[str, Any], **values: Any) -> None:
    """Write the page. `path` is replaced atomically.

    Args:
        path: file to write.
        charts: charts with their data.
        data: tables that the page's script shows, as lists of rows. They are compressed in the page.
        values: values of the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kinetics_tools.viewing"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["printable"] = printable
    packed = base64.b64encode(gzip.compress(json.dumps(data).encode(), mtime=0)).decode()
    page = environment.get_template("report.html.j2").render(
        charts=charts,
        specs=_in_script({chart.name: chart.fluid for chart in charts}),
        packed=packed,
        vega=vega_script(),
        script=_static("report.js"),
        style=_static("report.css"),
        **values,
    )
    write_file(path, page)


def _static(name: str) -> str:
    return _PACKAGE.joinpath("static").joinpath(name).read_text(encoding="utf-8")


def _in_script(value: Any) -> str:
    """Return JSON that no text of it can end the script element of."""
    return json.dumps(value).replace("<", "\\u003c")
