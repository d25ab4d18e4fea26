"""What the figures of the AccLLM reproduction show, with the sentence that each of them says."""

from __future__ import annotations

from functools import partial

import pandas as pd

from reports import words
from reports.experiments import figures as common
from reports.experiments.accllm import figures
from reports.experiments.accllm.ablation import TECHNIQUES
from reports.experiments.accllm.decoding import PUBLISHED_RATE, SHARED
from reports.experiments.accllm.workloads import CONTEXTS, MACHINE, OPERATORS, USUAL, rate, step
from reports.experiments.lab import Lab
from reports.experiments.picture import Plan
from sim.machines import make_machine
from sim.machines.accllm import AccLlm
from sim.units import GB


def pictures(table: pd.DataFrame, lab: Lab) -> list[Plan]:
    """Return the figures."""
    return [_contexts(lab), _ablation(table), _roofline(lab), _ratios(table)]


def _contexts(lab: Lab) -> Plan:
    window = {keys: rate(lab, step(keys)) for keys in CONTEXTS}
    whole = {
        keys: rate(lab, step(keys, window=False), settings=SHARED if keys > 8192 else None)
        for keys in CONTEXTS
    }
    return Plan(
        "contexts",
        "Decoding by context",
        f"With the window the rate stays at {words.number(window[max(window)])} token/s however "
        f"long the context; with all keys it falls to {words.number(whole[7168])} at 7,168.",
        "Keys that the token attends to, on a logarithmic axis. At 32,768 keys the cache has "
        "4.5 GB: that point has weights and cache on all 32 pseudo-channels.",
        partial(figures.draw_contexts, window, whole, PUBLISHED_RATE),
    )


def _ablation(table: pd.DataFrame) -> Plan:
    ours = table.set_index(["section", "quantity"])["ours"]
    alone = ours["Ablation, each left out alone"]
    added = ours["Ablation, one after another"]
    rows: list[tuple[str, float, float | None, float | None]] = [
        (t.name, t.published, float(alone[t.name]), float(added[f"+ {t.name}"])) for t in TECHNIQUES
    ]
    largest = max(rows, key=lambda row: abs((row[2] or 0) / row[1] - 1))
    return Plan(
        "ablation",
        "What each technique buys",
        f"Left out alone, the technique furthest from its published gain is {largest[0]}: "
        f"{largest[2]:.2f} against {largest[1]:.2f} times.",
        f"Decoding at {USUAL:,} keys. The paper does not say whether its steps are cumulative.",
        partial(figures.draw_ablation, rows),
    )


def _roofline(lab: Lab) -> Plan:
    machine = make_machine(MACHINE)
    assert isinstance(machine, AccLlm)

    def points(of: str) -> list[figures.Point]:
        rows = [(name, lab.run(f"{name} of {of}", MACHINE).row) for name in OPERATORS]
        return [
            figures.Point(name, row["operational_intensity"], row["throughput_gops"])
            for name, row in rows
            if row["multiplications"] and not (name == "head" and of != step(USUAL))
        ]

    vector = 4 * machine.engine.vector_dsps * machine.clock_hz / 1e9
    peak = machine.dram.peak_bytes_per_s / GB
    decode, prefill = points(step(USUAL)), points("prefill 512")
    return Plan(
        "roofline",
        "Operators under the machine's roofs",
        f"Decoding does {min(p.intensity for p in decode):.1f} to "
        f"{max(p.intensity for p in decode):.1f} operations per byte and stays below the bandwidth "
        "of the pseudo-channels that its operands lie in; a prefill is bound by the multipliers.",
        "Each operator of all 32 layers alone: for weights the slope is that of 24 of the 32 "
        "pseudo-channels, for attention that of the other 8.",
        partial(figures.draw_roofline, decode, prefill, (vector, machine.peak_gops), peak),
    )


def _ratios(table: pd.DataFrame) -> Plan:
    ratios = common.compared(table)["ratio"]
    return Plan(
        "ratios",
        "Ours over published",
        f"The median ratio is {words.number(float(ratios.median()))}.",
        "One dot for each published value; the green band is 15 % on both sides.",
        partial(common.draw_ratios, table),
    )
