"""Figures of the baselines, drawn from their tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports import words
from reports.figures.style import (
    GRID,
    INK,
    RANDOM,
    STUDIED,
    UNPRUNED,
    NothingToDraw,
    legend_above,
    new_figure,
    styled,
    y_names,
)
from reports.gpu.baselines.cpu import CPU_LABEL
from reports.gpu.baselines.rows import (
    DENSE,
    MEASURED,
    MODELLED,
    PUBLISHED,
    SIMULATED,
    SPARSE,
)
from reports.gpu.baselines.story import STUDIED as STUDIED_MACHINES
from reports.gpu.baselines.workloads import WORKLOADS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREEN, _PINK = "#009E73", "#CC79A7"
LOOKS: dict[tuple[str, str], tuple[str, str | None]] = {
    (SIMULATED, ""): (STUDIED, None),
    (MODELLED, DENSE): (UNPRUNED, "///"),
    (MODELLED, SPARSE): (RANDOM, "///"),
    (MEASURED, DENSE): (UNPRUNED, None),
    (MEASURED, SPARSE): (_GREEN, None),
    (PUBLISHED, ""): (_PINK, "..."),
}
"""(kind, work) -> colour, hatch: what is hatched in stripes is modelled, in dots published."""
_DEVICES = ("#D55E00", "#882255", "#332288", "#117733", "#999933", "#AA4499", "#661100")
_MARKS = {"times_pytorch": ("s", "PyTorch, published"), "times_dense": ("o", "dense kernels"),
          "times_sparse": ("D", "sparse kernels")}  # fmt: skip


def draw_latency(rows: pd.DataFrame, family: str) -> Figure:
    """Draw a panel for each workload of a family, a bar for each machine, logarithmic.

    Raises:
        NothingToDraw: no machine of the family has a latency.
    """
    timed = rows[rows["latency_ns"].notna()]
    panels = [
        (workload.title, own)
        for workload in WORKLOADS
        if workload.family == family and len(own := timed[timed["workload"] == workload.name])
    ]
    if not panels:
        raise NothingToDraw(f"no latency on {family}'s workloads")
    heights = [len(own) + 2.6 for _, own in panels]
    with styled():
        figure = new_figure(0.5 + 0.215 * sum(heights))
        grid = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False).ravel()
        for axes, (title, own) in zip(grid, panels, strict=True):
            _bars(axes, title, own)
        grid[-1].set_xlabel("latency (logarithmic)")
        here = {(row.kind, _work(row.kind, row.work)) for row in timed.itertuples()}
        legend_above(
            figure,
            [(" ".join(look).strip(), *LOOKS[look]) for look in LOOKS if look in here],
        )
    return figure


def _bars(axes: Axes, title: str, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import EngFormatter, NullFormatter

    ordered = rows.sort_values("latency_ns", kind="stable")
    names = []
    low, high = ordered["latency_ns"].min() * 1e-9, ordered["latency_ns"].max() * 1e-9
    for y, row in enumerate(ordered.itertuples()):
        colour, hatch = LOOKS[row.kind, _work(row.kind, row.work)]
        seconds = row.latency_ns * 1e-9
        axes.barh(y, seconds, height=0.72, color=colour, hatch=hatch, edgecolor="white",
                  linewidth=0.6)  # fmt: skip
        axes.text(seconds * 1.06, y, words.duration(row.latency_ns), va="center", fontsize=8.5)
        names.append(_name(row))
    axes.set_xscale("log")
    axes.set_xlim(low / 3, high * 4)
    axes.xaxis.set_major_formatter(EngFormatter("s", sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, axis="x")
    axes.set_title(title)
    y_names(axes, names)
    axes.tick_params(axis="y", labelsize=8.5)


def _name(row: object) -> str:
    kind, machine = row.kind, row.machine  # type: ignore[attr-defined]
    device, work = row.device, row.work  # type: ignore[attr-defined]
    if kind == SIMULATED:
        return str(machine)
    if kind == PUBLISHED:
        same = str(device).startswith(str(machine))
        return f"{machine}" if same else f"{machine} ({device})"
    if str(machine) == CPU_LABEL:
        return f"{machine}, {work} ({device})"
    return f"{machine}, {work}"


def _work(kind: str, work: str) -> str:
    return work if kind in (MODELLED, MEASURED) else ""


def draw_context(rows: pd.DataFrame) -> Figure:
    """Draw tokens a second of Llama-2-7B over the keys of a step: machines and kernels.

    Raises:
        NothingToDraw: fewer than two contexts have a rate.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    contexts = {w.name: w.context for w in WORKLOADS if w.name.startswith("llama")}
    own = rows[rows["workload"].isin([*contexts]) & rows["latency_ns"].notna()]
    own = own[own["kind"] != PUBLISHED].assign(context=own["workload"].map(contexts))
    if own["context"].nunique() < 2:
        raise NothingToDraw("fewer than two contexts have a latency")
    devices = list(dict.fromkeys(own.loc[own["kind"] != SIMULATED, "device"]))
    with styled():
        figure = new_figure(4.6)
        axes = figure.subplots()
        ends = []
        for (machine, work), line in own.groupby(["machine", "work"], sort=False):
            kind, device = line["kind"].iloc[0], line["device"].iloc[0]
            colour = STUDIED if machine in STUDIED_MACHINES else "#56B4E9"
            if kind != SIMULATED:
                colour = _DEVICES[devices.index(device) % len(_DEVICES)]
            rates = line["units_per_s"].tolist()
            axes.plot(
                line["context"],
                rates,
                color=colour,
                linestyle="--" if work == DENSE else "-",
                marker="s" if kind == SIMULATED else "o" if kind == MEASURED else None,
                markersize=5,
                linewidth=2.4 if kind == SIMULATED else 1.6,
            )
            name = str(machine) if kind == SIMULATED else f"{machine}, {work}"
            ends.append((line["context"].iloc[-1], rates[-1], name, colour))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        _label_ends(axes, ends)
        plain = FuncFormatter(lambda value, _: f"{value:,.0f}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(plain)
            axis.set_minor_formatter(NullFormatter())
        axes.set_xticks(sorted(set(contexts.values())))
        low, high = own["units_per_s"].min(), own["units_per_s"].max()
        marks = [rate for rate in (10, 20, 50, 100, 200, 500, 1000, 2000)
                 if low / 1.5 < rate < high * 1.5]  # fmt: skip
        axes.set_yticks(marks)
        axes.set_ylim(low / 1.3, high * 1.3)
        axes.grid(True)
        axes.set_xlabel("keys of the step")
        axes.set_ylabel("tokens/s (logarithmic)")
    return figure


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Name each line at its end; names that would meet are moved apart."""
    import math

    low, high = min(math.log(y) for _, y, *_ in ends), max(math.log(y) for _, y, *_ in ends)
    apart = max(high - low, 1.0) / 17
    last = -math.inf
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        last = max(math.log(y), last + apart)
        axes.annotate(
            name,
            (x, y),
            xytext=(x * 1.12, math.exp(last)),
            textcoords="data",
            va="center",
            fontsize=8.5,
            color=colour,
            annotation_clip=False,
        )


def draw_ratios(ratios: pd.DataFrame) -> Figure:
    """Draw how many times faster than each GPU the studied machine is, against three opponents.

    Raises:
        NothingToDraw: no ratio.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullFormatter

    own = ratios[ratios["machine"].isin(STUDIED_MACHINES)]
    own = own[own[[*_MARKS]].notna().any(axis=1)].reset_index(drop=True)
    if own.empty:
        raise NothingToDraw("no machine and GPU have both a latency")
    titles = {workload.name: workload.title for workload in WORKLOADS}
    colours = {"times_pytorch": _PINK, "times_dense": UNPRUNED, "times_sparse": RANDOM}
    places: list[float] = []
    with styled():
        figure = new_figure(1.1 + 0.2 * len(own) + 0.3 * own["workload"].nunique())
        axes = figure.subplots()
        y, before = 0.0, ""
        for row in own.to_dict("records"):
            if row["workload"] != before:
                y += 1.4 if before else 0.8
                before = row["workload"]
                axes.text(0.0, y - 0.95, f"{row['machine']}. {titles[before]}", weight="bold",
                          fontsize=8.5, va="center", backgroundcolor="white",
                          transform=axes.get_yaxis_transform())  # fmt: skip
            known = [(name, row[name]) for name in _MARKS if row[name] == row[name]]
            axes.plot([value for _, value in known], [y] * len(known), color=GRID, linewidth=2,
                      zorder=1)  # fmt: skip
            for name, value in known:
                axes.plot(value, y, _MARKS[name][0], color=colours[name], markersize=6,
                          markeredgecolor=INK, markeredgewidth=0.5)  # fmt: skip
            places.append(y)
            y += 1
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xscale("log")
        axes.set_yticks(places, own["device"].tolist())
        axes.set_ylim(y, -0.9)
        axes.tick_params(axis="y", length=0, labelsize=8.5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(True, axis="x")
        axes.set_xlabel("times faster than the GPU (logarithmic); left of 1 the GPU is faster")
        marks = [
            Line2D([], [], linestyle="none", marker=mark, color=colours[name],
                   markeredgecolor=INK, markeredgewidth=0.5, label=label)
            for name, (mark, label) in _MARKS.items()
        ]  # fmt: skip
        figure.legend(handles=marks, loc="outside upper left", ncols=3)
    return figure
