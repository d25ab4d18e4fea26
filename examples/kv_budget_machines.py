"""KV budget and machine: what a smaller KV cache costs a decoder, and where it buys anything.

The tiny decoder reads 8 held-out texts under each method at each budget (`keep_ratio`: share of
the prompt that stays in the cache); its loss is the accuracy. The machines run the 31 tokens after
the prompt of the first text.

Found: snapkv keeps a tenth of the prompt for 0.006 nats a byte (1.013 against 1.007 unpruned);
random tokens cost 1.83. That tenth makes spatten-eighth 4.97 times faster and spatten, which has 8
times its bandwidth, 1.92 times. dense, a3 and mnnfast fetch every key and gain nothing from any
method; accllm-u280 can leave out what a window drops, so only streaming-llm helps there: 1.26 times
at a quarter, for 0.001 nats. 102 points, 60 s on 2 cores, most of it for 17 traces.

    python examples/kv_budget_machines.py --out runs/kv-budget-machines

The same space is in kv_budget_machines.toml, for `prunesim sweep`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from reports.sweeping.command import run_sweep
from sim.sweep import Space
from sim.sweep.store import Store
from workloads.errors import InputError

METHODS = ["snapkv", "h2o", "streaming-llm", "random-kv"]
MACHINES = ["spatten", "spatten-eighth", "a3", "mnnfast", "dense", "accllm-u280"]
LOSS = "accuracy_nats_per_token"


def space(quick: bool = False) -> Space:
    """Return what is varied; quick: one method on two machines, one short text."""
    methods = METHODS[2:3] if quick else METHODS
    return Space.of(
        {
            "title": "KV budget and machine",
            "workload": "tiny-decoder",
            "part": "decode",
            "limit": 1 if quick else 8,
            "inputs": 1,
            "set": {"workload.tokens": 64, "workload.generate": 2} if quick else {},
            "axes": {
                "method": ["dense", *methods],
                "method.keep_ratio": {
                    "values": [0.5] if quick else [0.1, 0.25, 0.5, 0.75],
                    "when": {"method": methods},
                },
                "machine": ["spatten-eighth", "accllm-u280"] if quick else MACHINES,
            },
            "objectives": {LOSS: "min", "latency_ns": "min", "energy_pj": "min"},
        }
    )


def show(rows: pd.DataFrame) -> None:
    """Print losses, and how much faster than unpruned each machine is at the best of them."""
    rows = rows.assign(budget=rows["method.keep_ratio"].fillna(1.0))
    losses = rows.drop_duplicates(["method", "budget"])
    print("loss, nats a byte")
    print(losses.pivot(index="method", columns="budget", values=LOSS).round(3).to_string())
    pruned = rows[rows["method"] != "dense"]
    best = pruned.loc[pruned.groupby(["machine", "budget"], sort=False)[LOSS].idxmin()]
    for name, what in (("latency_ns", "times faster"), ("energy_pj", "times less energy")):
        unpruned = rows[rows["method"] == "dense"].set_index("machine")[name]
        gain = best.assign(gain=best["machine"].map(unpruned) / best[name])
        print(f"\n{what} than unpruned, by the method of least loss at each budget")
        print(gain.pivot(index="machine", columns="budget", values="gain").round(2).to_string())


def main(arguments: list[str] | None = None) -> None:
    """Run the sweep, print what it found, draw the report."""
    parser = argparse.ArgumentParser(description="KV budget and machine.")
    parser.add_argument("--out", type=Path, default=Path("runs/kv-budget-machines"))
    parser.add_argument("--jobs", type=int, help="processes; default: one a core")
    parser.add_argument("--quick", action="store_true", help="a few points of a short text")
    parser.add_argument("--resume", action="store_true", help="go on with the sweep in --out")
    parser.add_argument("--no-report", action="store_true", help="skip the HTML report")
    given = parser.parse_args(arguments)
    try:
        run_sweep(space(given.quick), given.out, jobs=given.jobs, resume=given.resume)
    except InputError as error:
        parser.error(str(error))
    with Store(given.out, reading=True) as store:
        show(pd.DataFrame([{**p.row, **p.assignment} for p in store.points() if p.row]))
    if not given.no_report:
        from reports.sweeping.page import write_report

        print(f"\nreport: {write_report(given.out)}")


if __name__ == "__main__":
    main()
