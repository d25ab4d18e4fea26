"""What a trace holds, as numbers and as a picture of text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from reports import words
from reports.summary import TextTable
from workloads.trace import TABLES, Trace

_BAR = 20  # characters of a full bar


def inspect_trace(trace: Trace) -> dict[str, Any]:
    """Return header, row counts, and means for each layer of what the trace keeps."""
    header = asdict(trace.header)
    return {
        "header": header,
        "rows": {name: trace.rows(name) for name in TABLES},
        "layers": _layers(trace),
        "offered": _offered(trace),
    }


def _layers(trace: Trace) -> list[dict[str, Any]]:
    names = [
        *("layer", "alive", "queries_dense", "queries", "keys_dense", "keys", "values"),
        *("q_bits", "k_bits", "v_bits", "k_lsb_bits", "recomputed"),
    ]
    rows = pd.DataFrame({name: trace.array("attention", name) for name in names})
    tokens = pd.DataFrame(
        {name: trace.array("tokens", name) for name in ("layer", "tokens_dense", "alive")}
    )
    layers = []
    for layer, own in rows.groupby("layer"):
        alive = own[own["alive"]]
        entering = tokens[tokens["layer"] == layer]
        kept = entering["alive"].sum() if len(entering) else own["queries"].sum()
        full = entering["tokens_dense"].sum() if len(entering) else own["queries_dense"].sum()
        layers.append(
            {
                "layer": int(str(layer)),
                "tokens_kept_ratio": _ratio(kept, full),
                "heads_kept_ratio": _ratio(len(alive), len(own)),
                "keys_kept_ratio": _ratio(alive["keys"].sum(), alive["keys_dense"].sum()),
                "values_kept_ratio": _ratio(alive["values"].sum(), alive["keys"].sum()),
                "recomputed_ratio": _ratio(alive["recomputed"].sum(), alive["queries"].sum()),
                "bits": sorted({_bits(row) for row in alive.itertuples()}),
            }
        )
    return layers


def _bits(row: Any) -> str:
    late = f"+{row.k_lsb_bits}" if row.k_lsb_bits else ""
    return f"Q{row.q_bits} K{row.k_bits}{late} V{row.v_bits}"


def _ratio(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 1.0


def _offered(trace: Trace) -> list[dict[str, Any]]:
    """Return the sparsity that the trace offers a machine that exploits every kind."""
    from sim.operations import KINDS, sparsity_table

    bits = [trace.array("attention", name).max(initial=12) for name in ("q_bits", "k_bits")]
    table = sparsity_table(trace, KINDS, int(max(bits)))
    table = table[(table["offered"] != 0) & (table["dense"] > 0)]
    return [
        {
            "kind": row["kind"],
            "quantity": row["quantity"],
            "dense": int(row["dense"]),
            "offered": int(row["offered"]),
            "offered_ratio": float(row["offered"] / row["dense"]),
        }
        for _, row in table.iterrows()
    ]


def summary_lines(found: dict[str, Any]) -> list[str]:
    """Return the header and the offers as sentences."""
    header = found["header"]
    settings = ", ".join(f"{key}={value}" for key, value in header["parameters"].items())
    rows = ", ".join(f"{count:,} {name}" for name, count in found["rows"].items() if count)
    lines = [
        f"{header['method']} on {header['workload']} ({header['model']['name']}), "
        f"seed {header['seed']}, schema {header['schema_version']}"
        + (", SYNTHETIC: the sparsity was assumed" if header["synthetic"] else ""),
        f"parameters: {settings or 'none'}",
        f"rows: {rows}",
    ]
    if header["accuracy"]:
        measured = ", ".join(
            f"{words.metric(name)} {value:.3f}" for name, value in header["accuracy"].items()
        )
        lines.append(f"accuracy: {measured}")
    if header["notes"]:
        lines.append(f"notes: {header['notes']}")
    for offer in found["offered"]:
        word = "removes" if offer["offered"] > 0 else "adds"
        share = words.percent(abs(offer["offered_ratio"]))
        lines.append(f"offers: {offer['kind']} pruning {word} {share} of the {offer['quantity']}")
    return lines


def layer_picture(found: dict[str, Any]) -> TextTable:
    """Return one line per layer, with a bar for the tokens kept."""
    lines = []
    for layer in found["layers"]:
        full = round(layer["tokens_kept_ratio"] * _BAR)
        lines.append(
            [
                str(layer["layer"]),
                "█" * full + "·" * (_BAR - full),
                words.percent(layer["tokens_kept_ratio"]),
                words.percent(layer["heads_kept_ratio"]),
                words.percent(layer["keys_kept_ratio"]),
                words.percent(layer["values_kept_ratio"]),
                words.percent(layer["recomputed_ratio"]),
                ", ".join(layer["bits"]) or "-",
            ]
        )
    columns = ["layer", "tokens", "", "heads", "keys", "values of keys", "recomputed", "bits"]
    return TextTable(columns, lines, [True, False, True, True, True, True, True, False])
