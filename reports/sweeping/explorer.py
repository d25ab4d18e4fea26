"""The explorer of a sweep's page: a Bokeh plot, all points as packed numbers, a script.

Everything that moves is in `templates/explorer.js`; here is what it works on. Columns are
little-endian arrays in base64, one number a point: 10,000 points take about 2 MB.
"""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.sweeping import groups
from reports.sweeping.columns import Column, columns, value_text
from reports.sweeping.read import SweepData
from reports.sweeping.sensitivity import main_effects

if TYPE_CHECKING:
    from bokeh.plotting import figure

BUNDLES = ("bokeh",)  # of BokehJS: the plots, no widgets, no tables, no WebGL
_CODES = {"done": 0, "failed": 1, "pruned": 2}


def script() -> str:
    """Return BokehJS, as the installed package has it."""
    from bokeh.settings import settings

    folder = Path(settings.bokehjs_path()) / "js"
    texts = [(folder / f"{name}.min.js").read_text(encoding="utf-8") for name in BUNDLES]
    return "\n".join(embeddable(text) for text in texts)


def embeddable(text: str) -> str:
    """Return a script that may stand inside a page: nothing in it ends the element.

    The address of its source map is left out, so that nothing is fetched.
    """
    lines = [line for line in text.splitlines() if not line.startswith("//# sourceMappingURL=")]
    return "\n".join(lines).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def plots() -> dict[str, Any]:
    """Return the plot for each pair of scales, "linear-log" for linear x and logarithmic y."""
    from bokeh.embed import json_item

    kinds = ("linear", "log")
    return {f"{x}-{y}": json_item(_plot(x, y)) for x in kinds for y in kinds}


def _plot(x_scale: str, y_scale: str) -> figure:
    from bokeh.models import (
        BoxZoomTool,
        ColumnDataSource,
        CustomJS,
        HoverTool,
        PanTool,
        ResetTool,
        SaveTool,
        TapTool,
        WheelZoomTool,
    )
    from bokeh.plotting import figure

    plot = figure(
        name="plot",
        x_axis_type=x_scale,
        y_axis_type=y_scale,
        sizing_mode="stretch_both",
        output_backend="canvas",
        toolbar_location="above",
        tools=[],
        min_border_right=16,
    )
    names = ("x", "y", "size", "fill", "alpha", "edge", "at")
    points = ColumnDataSource({name: [] for name in names}, name="points")
    lines = ColumnDataSource({"xs": [], "ys": [], "colour": []}, name="lines")
    picked = ColumnDataSource({"x": [], "y": []}, name="picked")
    plot.multi_line("xs", "ys", source=lines, line_width=2, line_color="colour")
    dots = plot.scatter(
        "x",
        "y",
        source=points,
        size="size",
        fill_color="fill",
        fill_alpha="alpha",
        line_color="edge",
        line_alpha="alpha",
        line_width=1.2,
        name="dots",
    )
    dots.nonselection_glyph = None
    dots.selection_glyph = None
    plot.scatter(
        "x",
        "y",
        source=picked,
        size=18,
        fill_color=None,
        line_width=3,
        line_color="gray",
        name="ring",
    )
    pan, wheel = PanTool(), WheelZoomTool(zoom_on_axis=False)
    hover = HoverTool(
        renderers=[dots],
        tooltips=None,
        callback=CustomJS(code="window.prunesim.hover(cb_data)"),
    )
    tap = TapTool(
        renderers=[dots],
        callback=CustomJS(code="window.prunesim.tap(cb_data.source.selected.indices)"),
    )
    plot.add_tools(pan, BoxZoomTool(), wheel, ResetTool(), SaveTool(), hover, tap)
    plot.toolbar.logo = None
    plot.toolbar.active_drag = None  # a finger on the plot scrolls the page
    for guides in (plot.axis, plot.grid):
        for guide in guides:
            guide.name = type(guide).__name__
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "14px"
    plot.axis.major_label_text_font_size = "13px"
    return plot


def packed(values: Any, kind: str) -> dict[str, str]:
    """Return an array as base64 and what its items are: uint8, uint16, uint32 or float32."""
    array = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
    return {"kind": kind, "data": base64.b64encode(array.tobytes()).decode()}


def content(data: SweepData) -> dict[str, Any]:
    """Return what the script works on, as plain data."""
    known = columns(data)
    traces = list(dict.fromkeys(data.points["trace"]))
    status = data.points["status"].map(_CODES)
    return {
        "count": len(data.points),
        "number": packed(data.points.index, "uint32"),
        "status": packed(status, "uint8"),
        "feasible": packed(data.feasible, "uint8"),
        "front": packed(data.front, "uint8"),
        "groups": _groups(data) if data.grouped else None,
        "objectives": data.objectives,
        "colour": _telling(data),
        "columns": [_column(data, column) for column in known.values()],
        "axes": [_axis(data, name) for name in data.axes],
        "command": _command(data),
        "traces": traces,
        "trace": packed(data.points["trace"].map({t: i for i, t in enumerate(traces)}), "uint32"),
        "reasons": list(dict.fromkeys(r for r in data.points["reason"] if r)),
        "reason": packed(_codes(data.points["reason"]), "uint32"),
    }


def _groups(data: SweepData) -> dict[str, Any]:
    """Return the names and values that points are compared within, and the group of each point."""
    return {
        "names": data.within,
        "ordered": groups.have_order(data),
        "values": [
            [value if _is_number(value) else value_text(value) for value in own]
            for own in data.groups
        ],
        "of": packed(data.group, "uint32"),
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _telling(data: SweepData) -> str | None:
    """Return the axis that says most about the first objective; None: none varies."""
    effects = main_effects(data)
    own = effects[effects["objective"] == next(iter(data.objectives))].dropna(subset="share")
    if own.empty:
        return next(iter(data.varied), None)
    return str(own.loc[own["share"].idxmax(), "axis"])


def _column(data: SweepData, column: Column) -> dict[str, Any]:
    values = data.rows[column.name].to_numpy(float, na_value=np.nan)
    return {
        "name": column.name,
        "label": column.label,
        "unit": column.unit,
        "factor": column.factor,
        "values": packed(values, "float32"),  # NaN: not there
    }


def _axis(data: SweepData, name: str) -> dict[str, Any]:
    """Return an axis: its values once, in order, and the place of each point's value.

    Place 0 is no value: the axis does not take part.
    """
    own = data.axes[name]
    values = ordered(own)
    place = {_identity(value): at + 1 for at, value in enumerate(values)}
    codes = [0 if value is None else place[_identity(value)] for value in own]
    numeric = all(map(_is_number, values))
    axis = data.space.axes[name]
    return {
        "name": name,
        "short": data.short[name],
        "numeric": numeric,
        "values": values if numeric else [value_text(value) for value in values],
        "parts": [_settings(axis.fields(name), value) for value in values],
        "machines": [shlex.quote(str(value)) for value in values]
        if "machine" in axis.fields(name)
        else None,
        "codes": packed(codes, "uint16" if len(values) < 65_535 else "uint32"),
    }


def ordered(values: pd.Series) -> list[Any]:
    """Return the values of an axis once: numbers in order, others as they come."""
    found = {_identity(value): value for value in values if value is not None}
    unique = list(found.values())
    numeric = all(map(_is_number, unique))
    return sorted(unique) if numeric else unique


def _identity(value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value  # else True would be 1


def _settings(fields: list[str], value: Any) -> str:
    """Return what a value of an axis adds to the command of a point."""
    names = (name.partition(".")[2] for name in fields if name.startswith("machine."))
    return "".join(f" --set {shlex.quote(f'{name}={value}')}" for name in names)


def _command(data: SweepData) -> dict[str, str]:
    """Return the parts of a point's command that do not depend on its axes."""
    space = data.space
    fixed = (_settings([name], value) for name, value in space.set.items())
    return {
        "start": f"prunesim simulate {shlex.quote(str(data.folder / 'traces'))}/",
        "machine": shlex.quote(space.machine),
        "fixed": "".join(fixed),
    }


def _codes(reasons: pd.Series) -> list[int]:
    names = {r: at + 1 for at, r in enumerate(dict.fromkeys(x for x in reasons if x))}
    return [names.get(reason, 0) for reason in reasons]


def as_json(value: Any) -> str:
    """Return JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
