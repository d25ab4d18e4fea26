"""Power by the paper's groups, and area."""

from __future__ import annotations

from statistics import fmean

from reports.experiments.claim import Claim
from reports.experiments.lab import Lab
from reports.experiments.spatten.throughput import BERT_BENCHMARKS, GPT2, GPT2_BENCHMARKS
from reports.experiments.spatten.workloads import BERT, BERT_NOTE, MEDIUM, SMALL
from sim.energy.area import area_table
from sim.energy.power import power_split
from sim.machines import make_machine
from sim.result import Result

_NOTE = (
    f"mean of 22 BERT and 8 GPT-2 benchmarks; {BERT_NOTE}; GPT-2: {SMALL.note}, {MEDIUM.note}; "
    "constants are sourced, none is fitted"
)
_WHY = {
    "logic": "operators, pipeline registers, crossbars; no clock tree, control or wires",
    "SRAM": "CACTI 7, a RAM for each bit plane and bank as in the released RTL; FIFOs likewise",
    "DRAM": "energy per bit and activation; follows from the bandwidth that is used",
    "total": "",
}
PUBLISHED_W = {"logic": 1.36, "SRAM": 1.24, "DRAM": 5.71, "total": 8.30}


def power(lab: Lab) -> list[Claim]:
    """Compare with 8.30 W = 1.36 + 1.24 + 5.71, with 1.0 % for top-k, and with the areas."""
    results = [[lab.run(name, "spatten") for name in names] for names in (BERT, GPT2)]
    bert, gpt2 = ([power_split(result) for result in group] for group in results)
    benchmarks = BERT_BENCHMARKS + GPT2_BENCHMARKS

    def mean(group: str) -> float:
        return (
            BERT_BENCHMARKS * fmean(split[group] for split in bert)
            + GPT2_BENCHMARKS * fmean(split[group] for split in gpt2)
        ) / benchmarks

    section = "Power and area"
    claims = [
        Claim(
            section=section,
            quantity=f"power: {group}",
            unit="W",
            published=published,
            ours=mean(group),
            inputs="synthetic",
            assumed=f"{_WHY[group]}; {_NOTE}" if _WHY[group] else _NOTE,
            source="SpAtten, section V",
        )
        for group, published in PUBLISHED_W.items()
    ]
    for name, splits in (("BERT", bert), ("GPT-2", gpt2)):
        for group in PUBLISHED_W:
            claims.append(
                Claim(
                    section=section,
                    quantity=f"power: {group}, {name} alone",
                    unit="W",
                    ours=fmean(split[group] for split in splits),
                    inputs="synthetic",
                    source="no published value",
                )
            )
    top_k = [fmean(_topk_watts(result) for result in group) for group in results]
    watts = (BERT_BENCHMARKS * top_k[0] + GPT2_BENCHMARKS * top_k[1]) / benchmarks
    claims.append(
        Claim(
            section=section,
            quantity="power: top-k engines",
            unit="W",
            published=0.083,
            ours=watts,
            inputs="synthetic",
            assumed="published as 1.0 % of 8.30 W; comparators, shifters and FIFOs, busy only with "
            f"cascade selections in BERT (prefill_value_pruning is off); {_NOTE}",
            source="SpAtten, section V",
        )
    )
    return claims + _areas(section)


def _topk_watts(result: Result) -> float:
    energy = result.tables["energy"]
    of_topk = energy["component"] == "top-k"
    return float(energy.loc[of_topk, "energy_pj"].sum()) * 1e-3 / result.row["latency_ns"]


def _areas(section: str) -> list[Claim]:
    claims = []
    for name, published in (("spatten", 18.71), ("spatten-eighth", 1.55)):
        table = area_table(make_machine(name).hardware)
        total = float(table["area_mm2"].sum())
        if name == "spatten-eighth":
            sram = table["component"].isin(["K SRAM", "V SRAM"])
            total = float(table.loc[~sram, "area_mm2"].sum())
        claims.append(
            Claim(
                section=section,
                quantity=f"area of {name}"
                + (", K and V SRAM left out" if name == "spatten-eighth" else ""),
                unit="mm2",
                published=published,
                ours=total,
                inputs="synthetic",
                assumed="cells and SRAM without placement, clock tree and wires"
                + (
                    "; the table's 1.55 mm2 cannot hold two SRAM of 196 KB"
                    if name == "spatten-eighth"
                    else ""
                ),
                source="SpAtten, section V and table of prior work",
            )
        )
    table = area_table(make_machine("spatten").hardware)
    of_topk = table["component"].str.startswith("top-k")
    claims.append(
        Claim(
            section=section,
            quantity="area of the top-k engines",
            unit="mm2",
            published=0.505,
            ours=float(table.loc[of_topk, "area_mm2"].sum()),
            inputs="synthetic",
            assumed="published as 2.7 % of 18.71 mm2; FIFOs as CACTI RAMs",
            source="SpAtten, section V",
        )
    )
    return claims
