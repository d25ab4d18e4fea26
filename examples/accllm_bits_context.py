"""Bits of weights and KV cache, and context, on AccLLM: one token of Llama-2-7B.

An axis may set a field of the workload and fields of the machine at once: here the bits that the
trace offers and the bits in which the U280's memory holds them. Where a model does not fit the
card, the point is kept as failed, with the reason. Activations are not an axis: the trace carries
their bits (`workload.activation_bits`), but the engine takes 8 bits whatever they are. Synthetic:
no model is run, so there is no accuracy; `prunesim ladder` measures what such bits cost. The
context is what a user has, not what a designer chooses, and a window changes what is computed:
fronts are looked for `within` each of the two, else the shortest context would win everywhere.

Found: 2-bit weights and a 4-bit cache give 160 token/s up to 1,024 keys and 156 with the window at
any context; 4-bit weights 112, 8-bit 70. A 16-bit cache halves the first to 72 from 2,048 keys on:
8 pseudo-channels for the cache are the limit then, not the weights. All 32,768 keys fit only if
all 32 pseudo-channels hold both (`weight_channels` = 32), at 66 token/s. 109 of 504 points do not
fit the card. 13 s on 2 cores.

    python examples/accllm_bits_context.py --out runs/accllm-bits-context

The same space is in accllm_bits_context.toml, for `prunesim sweep`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from reports.sweeping.command import run_sweep
from sim.sweep import Space
from sim.sweep.store import Store
from workloads.errors import InputError


def space(quick: bool = False) -> Space:
    """Return what is varied; quick: 8 points."""
    return Space.of(
        {
            "title": "AccLLM: bits and context",
            "workload": "llama-2-7b",
            "machine": "accllm-u280",
            "axes": {
                "weight_bits": {
                    "values": [2, 8] if quick else [2, 4, 8],
                    "set": [
                        "workload.weight_bits",
                        "machine.weights.bits",
                        "machine.weights.zero_bits",
                    ],
                },
                "kv_bits": {
                    "values": [4] if quick else [4, 8, 16],
                    "set": ["workload.kv_bits", "machine.kv.bits", "machine.kv.zero_bits"],
                },
                "workload.pattern": ["2:4"] if quick else ["2:4", ""],
                "workload.context": {
                    "values": [1024, 32768]
                    if quick
                    else [512, 1024, 2048, 4096, 8192, 16384, 32768],
                },
                "machine.window": [True, False],
                "machine.weight_channels": [24] if quick else [24, 32],
            },
            "objectives": {
                "latency_ns": "min",
                "energy_pj": "min",
                "dram_transferred_bytes": "min",
            },
            "within": ["machine.window", "workload.context"],
        }
    )


def show(rows: pd.DataFrame) -> None:
    """Print tokens a second by bits and context, and the fastest points without a window."""
    rows = rows.assign(token_s=1e9 / rows["latency_ns"])
    paper = rows[(rows["machine.weight_channels"] == 24) & (rows["workload.pattern"] == "2:4")]
    print("token/s, 2:4 pruned, 24 pseudo-channels for weights; empty: does not fit")
    index = ["machine.window", "weight_bits", "kv_bits"]
    table = paper.pivot(index=index, columns="workload.context", values="token_s")
    print(table.round(1).to_string(na_rep=""))
    longest = rows[rows["workload.context"] == rows["workload.context"].max()]
    whole = longest[~longest["machine.window"].astype(bool)].nlargest(3, "token_s")
    print(f"\nfastest that keep all {longest['workload.context'].max():,} keys")
    names = ["weight_bits", "kv_bits", "workload.pattern", "machine.weight_channels", "token_s"]
    print(whole[names].to_string(index=False) if len(whole) else "none fits")


def main(arguments: list[str] | None = None) -> None:
    """Run the sweep, print what it found, draw the report."""
    parser = argparse.ArgumentParser(description="Bits and context on AccLLM.")
    parser.add_argument("--out", type=Path, default=Path("runs/accllm-bits-context"))
    parser.add_argument("--jobs", type=int, help="processes; default: one a core")
    parser.add_argument("--quick", action="store_true", help="8 points")
    parser.add_argument("--resume", action="store_true", help="go on with the sweep in --out")
    parser.add_argument("--no-report", action="store_true", help="skip the HTML report")
    given = parser.parse_args(arguments)
    try:
        done = run_sweep(space(given.quick), given.out, jobs=given.jobs, resume=given.resume)
    except InputError as error:
        parser.error(str(error))
    with Store(given.out, reading=True) as store:
        show(pd.DataFrame([{**p.row, **p.assignment} for p in store.points() if p.row]))
    print(f"\n{done.counts.get('failed', 0)} points do not fit the card; the report says why")
    if not given.no_report:
        from reports.sweeping.page import write_report

        print(f"\nreport: {write_report(given.out)}")


if __name__ == "__main__":
    main()
