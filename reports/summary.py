"""What a run says in words and small tables: the headline, the key numbers, the comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reports import words
from reports.run_data import BASELINE, CONTROL, PLAIN_MACHINE, RunData


@dataclass(frozen=True)
class Card:
    """One key number: the gain in large, the amounts in small."""

    title: str
    value: str
    note: str


@dataclass(frozen=True)
class TextTable:
    """A table as text; `emphasis` marks the rows of the studied result."""

    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    emphasis: list[bool] = field(default_factory=list)


_AMOUNTS = (
    ("cycles", "fewer", "more", words.cycles),
    ("dram_transferred_bytes", "fewer", "more", words.size),
    ("energy_pj", "less", "more", words.energy),
)
_NOUNS = {"cycles": "cycles", "dram_transferred_bytes": "DRAM bytes", "energy_pj": "energy"}


def headline(run: RunData) -> str:
    """Say in one sentence what the studied method gained, and at what accuracy."""
    own = run.row(run.method, run.machine)
    if own is None:
        return f"{run.method} was not simulated on {run.machine}."
    base = run.row(BASELINE, run.machine) if run.has_baseline else None
    if base is None:
        amounts = [f"{show(own[name])}" for name, _, _, show in _AMOUNTS]
        text = f"The {words.trace_name(run.method)} trace on {run.machine} takes "
        return (
            text + f"{amounts[0]}, {amounts[1]} from DRAM and {amounts[2]}{_accuracy_phrase(run)}."
        )
    gains = [
        words.gain(base[name], own[name], _NOUNS[name], fewer=fewer, more=more)
        for name, fewer, more, _ in _AMOUNTS
    ]
    return (
        f"{run.method} pruning on the {run.machine} machine: {words.join(gains)} compared with "
        f"the unpruned trace on the same machine{_accuracy_phrase(run)}."
    )


def _accuracy_phrase(run: RunData) -> str:
    values = run.accuracies
    if run.method not in values.index:
        return ""
    name = values.columns[0]
    return f", at a {words.metric(name)} of {values.at[run.method, name]:.3f}"


def second_line(run: RunData) -> str:
    """Say what the same trace gains on the control machine: what the hardware contributes."""
    if not run.has_baseline or PLAIN_MACHINE not in run.machines or run.machine == PLAIN_MACHINE:
        return ""
    own, base = run.row(run.method, PLAIN_MACHINE), run.row(BASELINE, PLAIN_MACHINE)
    if own is None or base is None:
        return ""
    gains = [
        words.gain(base[name], own[name], _NOUNS[name], fewer=fewer, more=more)
        for name, fewer, more, _ in _AMOUNTS
    ]
    return (
        f"The same pruned trace on the {PLAIN_MACHINE} control machine, compared with the "
        f"unpruned one there: {words.join(gains)}."
    )


def cards(run: RunData) -> list[Card]:
    """Return the key numbers of the studied result."""
    own = run.row(run.method, run.machine)
    if own is None:
        return []
    base = run.row(BASELINE, run.machine) if run.has_baseline else None
    shown = []
    for name, fewer, more, show in _AMOUNTS:
        title = {"cycles": "Cycles", "dram_transferred_bytes": "DRAM bytes"}.get(name, "Energy")
        if base is None:
            shown.append(Card(title, show(own[name]), f"on {run.machine}"))
            continue
        value = words.factor(base[name], own[name], fewer=fewer, more=more)
        shown.append(Card(title, value, f"{show(base[name])} → {show(own[name])}"))
    values = run.accuracies
    if run.method in values.index:
        name = values.columns[0]
        note = words.metric(name)
        if CONTROL in values.index and run.method != CONTROL:
            note += f"; random: {values.at[CONTROL, name]:.3f}"
        shown.append(Card("Accuracy", f"{values.at[run.method, name]:.3f}", note))
    return shown


def comparison(run: RunData) -> TextTable:
    """Return one line per method and machine, with the gain over unpruned on that machine."""
    columns = ["machine", "trace", "cycles", "speed-up", "latency", "multiplications"]
    columns += ["DRAM bytes", "energy", "power"]
    metrics = list(run.accuracies.columns)[:1]
    columns += [words.metric(name) for name in metrics]
    lines, emphasis = [], []
    for machine in run.machines:
        base = run.row(BASELINE, machine)
        for method in run.methods:
            row = run.row(method, machine)
            if row is None:
                continue
            lines.append([machine, words.trace_name(method), *_amounts(row, base)])
            lines[-1] += [_cell(run.accuracies, method, name) for name in metrics]
            emphasis.append((method, machine) == (run.method, run.machine))
    return TextTable(columns, lines, [False, False] + [True] * (len(columns) - 2), emphasis)


def _amounts(row: pd.Series, base: pd.Series | None) -> list[str]:
    speedup = words.times(base["cycles"] / row["cycles"]) if base is not None else "-"
    return [
        words.count_of(row["cycles"]),
        speedup,
        words.duration(row["latency_ns"]),
        words.count_of(row["multiplications"]),
        words.size(row["dram_transferred_bytes"]),
        words.energy(row["energy_pj"]),
        f"{words.number(row['power_w'])} W",
    ]


def _cell(values: pd.DataFrame, method: str, name: str) -> str:
    if method not in values.index or pd.isna(values.at[method, name]):
        return "-"
    return f"{values.at[method, name]:.3f}"


def accuracy_table(run: RunData) -> TextTable:
    """Return all accuracies, methods down."""
    values = run.accuracies
    columns = ["trace", *(words.metric(name) for name in values.columns)]
    lines = [
        [words.trace_name(method), *(_cell(values, method, name) for name in values.columns)]
        for method in values.index
    ]
    emphasis = [method == run.method for method in values.index]
    return TextTable(columns, lines, [False] + [True] * len(values.columns), emphasis)


def layer_table(run: RunData) -> TextTable:
    """Return the layers of the studied result, with the gain over the unpruned trace."""
    own = run.table("layers", run.method, run.machine)
    base = run.table("layers", BASELINE, run.machine) if run.has_baseline else None
    columns = ["layer", "tokens", "heads", "cycles", "speed-up", "multiplications"]
    columns += ["DRAM bytes", "energy"]
    lines = []
    for at, layer in own.iterrows():
        gain = "-"
        if base is not None and len(base) == len(own) and layer["cycles"]:
            gain = words.times(base["cycles"].iloc[int(str(at))] / layer["cycles"])
        lines.append(
            [
                f"{layer['layer']:.0f}",
                f"{words.mean(layer['tokens_alive'])} of {words.mean(layer['tokens_dense'])}",
                f"{words.mean(layer['heads_alive'])} of {words.mean(layer['heads_dense'])}",
                words.count_of(layer["cycles"]),
                gain,
                words.count_of(layer["multiplications"]),
                words.size(layer["dram_transferred_bytes"]),
                words.energy(layer["energy_pj"]),
            ]
        )
    return TextTable(columns, lines, [True] * len(columns))


def constants_table(run: RunData) -> TextTable:
    """Return every energy constant that the run used, with the machines that it is of."""
    table = run.tables["energy"]
    names = ["component", "event", "pj_per_event", "node_nm", "estimate", "source"]
    unique = table.groupby(names, sort=False, dropna=False)["machine"].unique().reset_index()
    lines = [
        [
            words.join([name for name in run.machines if name in row["machine"]]),
            str(row["component"]),
            str(row["event"]),
            f"{row['pj_per_event']:.4g}",
            "-" if pd.isna(row["node_nm"]) else f"{row['node_nm']:.0f}",
            "estimate" if row["estimate"] else "",
            str(row["source"]),
        ]
        for _, row in unique.iterrows()
    ]
    columns = ["machine", "component", "event", "pJ per event", "node, nm", "", "source"]
    return TextTable(columns, lines, [False, False, False, True, True, False, False])


def area_table(run: RunData) -> TextTable:
    """Return the area of each machine by component, with the total."""
    table = run.tables["area"].drop(columns="method").drop_duplicates()
    lines = []
    for machine in run.machines:
        own = table[table["machine"] == machine]
        if own.empty:
            lines.append([machine, "none", "-", "", "an FPGA: its parts have no area of their own"])
            continue
        for component, parts in own.groupby("component", sort=False):
            lines.append(
                [
                    machine,
                    str(component),
                    f"{parts['area_mm2'].sum():.3g}",
                    "estimate" if parts["estimate"].any() else "",
                    str(parts["source"].iloc[0]),
                ]
            )
        lines.append([machine, "all", f"{own['area_mm2'].sum():.3g}", "", ""])
    columns = ["machine", "component", "mm2", "", "source"]
    return TextTable(columns, lines, [False, False, True, False, False])


def rtl_area_table(areas: pd.DataFrame) -> TextTable:
    """Return areas by operators beside areas by synthesis, with the sums of what compares.

    Args:
        areas: as of `reports.rtl_area.rtl_tables`.
    """
    lines, emphasis = [], []
    for machine, own in areas.groupby("machine", sort=False):
        for _, row in own.iterrows():
            lines.append(
                [
                    str(machine),
                    _part(row["component"], row["memories"]),
                    _number(row["estimate_mm2"]),
                    row["blocks"] or "-",
                    _integer(row["gate_equivalents"]),
                    _number(row["area_mm2"]),
                    _ratio(row["ratio"]),
                    row["note"],
                ]
            )
            emphasis.append(False)
        compared = own[own["ratio"].notna()]
        if len(compared) > 1:
            sums = compared[["estimate_mm2", "gate_equivalents", "area_mm2"]].sum()
            lines.append(
                [
                    str(machine),
                    "all with a ratio",
                    _number(sums["estimate_mm2"]),
                    "",
                    _integer(sums["gate_equivalents"]),
                    _number(sums["area_mm2"]),
                    _ratio(sums["area_mm2"] / sums["estimate_mm2"]),
                    "",
                ]
            )
            emphasis.append(True)
    columns = ["machine", "component", "operators, mm2", "our RTL", "gates", "RTL, mm2"]
    columns += ["RTL / operators", "size"]
    numeric = [False, False, True, False, True, True, True, False]
    return TextTable(columns, lines, numeric, emphasis)


def rtl_block_table(blocks: pd.DataFrame) -> TextTable:
    """Return what was recorded of every block.

    Args:
        blocks: as of `reports.rtl_area.rtl_tables`.
    """
    counts = {
        "LUT": "lut",
        "FF": "ff",
        "DSP": "dsp48e2",
        "BRAM": "bram36",
        "URAM": "uram288",
        "gates": "gate_equivalents",
        "memory bits": "memory_bits",
        "depth": "logic_depth_gates",
    }
    lines = [
        [
            row["block"],
            *(
                _half(row[name]) if name == "bram36" else _integer(row[name])
                for name in counts.values()
            ),
            row["note"] or row["size"],
        ]
        for _, row in blocks.iterrows()
    ]
    numeric = [False, *(True for _ in counts), False]
    return TextTable(["block", *counts, "size"], lines, numeric)


def _part(component: str, memories: str) -> str:
    shown = [component, f"memory: {memories}" if memories else ""]
    return "; ".join(filter(None, shown)) or "not in the estimate"


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.3g}"


def _ratio(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2g}"


def _half(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:g}"


def _integer(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:,.0f}"


def config_table(config: dict[str, Any], docs: dict[str, str]) -> TextTable:
    """Return a machine's configuration, nested names with dots, and what each field means."""
    lines = [[name, value, docs.get(name, "")] for name, value in flatten(config)]
    return TextTable(["field", "value", "meaning"], lines, [False, True, False])


def flatten(config: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return (dotted name, text) of every value of a nested configuration."""
    found = []
    for name, value in config.items():
        if isinstance(value, dict):
            found += flatten(value, f"{prefix}{name}.")
        else:
            shown = f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
            found.append((prefix + name, shown))
    return found
