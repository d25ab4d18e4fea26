"""Throughput on BERT and GPT-2, and the DRAM traffic that each technique saves."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, geometric_mean

from reports.experiments.claim import Claim
from reports.experiments.lab import Lab, Settings
from reports.experiments.spatten.amounts import reduction, useful_operations
from reports.experiments.spatten.workloads import BERT, BERT_NOTE, MEDIUM, SMALL

TEST_BENCH: Settings = {"flow.layers_wait": False, "flow.cascade_topk": "hidden"}
TEST_BENCH_NOTE = (
    "a layer's rows follow those of the layer before without waiting, and selections of tokens and "
    "heads cost nothing, as in the released test bench"
)
"""How the authors' simulation feeds its rows: they depend on nothing."""

GPT2 = ["gpt2-small", "gpt2-medium"]
_GPT2_NOTE = f"{SMALL.note}, {MEDIUM.note}; useful operations, each query once"
_PAPER = "SpAtten, section V: average of its benchmarks"
BERT_BENCHMARKS, GPT2_BENCHMARKS = 22, 8


def tops(lab: Lab, traces: Sequence[str], settings: Settings | None = None) -> float:
    """Return the geometric mean of useful 1e12 operations/s over some traces on `spatten`."""
    found = []
    for name in traces:
        seconds = lab.run(name, "spatten", settings).row["latency_ns"] * 1e-9
        found.append(useful_operations(lab.trace(name)) / seconds / 1e12)
    return geometric_mean(found)


def throughput(lab: Lab) -> list[Claim]:
    """Compare with 1.61 and 0.43 TFLOPS."""
    section = "Throughput"
    claims = [
        Claim(
            section=section,
            quantity="22 BERT benchmarks",
            unit="TOPS",
            published=1.61,
            ours=tops(lab, BERT),
            inputs="synthetic",
            assumed=BERT_NOTE,
            source=_PAPER,
        ),
        Claim(
            section=section,
            quantity="8 GPT-2 benchmarks, rows fed as by the authors' test bench",
            unit="TOPS",
            published=0.43,
            ours=tops(lab, GPT2, TEST_BENCH),
            inputs="synthetic",
            assumed=f"{TEST_BENCH_NOTE}; {_GPT2_NOTE}",
            source=_PAPER,
        ),
        Claim(
            section=section,
            quantity="8 GPT-2 benchmarks, each layer waits for the one before",
            unit="TOPS",
            published=0.43,
            ours=tops(lab, GPT2),
            inputs="synthetic",
            assumed="the machine's default, as a model's layers depend on each other; "
            f"{_GPT2_NOTE}",
            source=_PAPER,
        ),
    ]
    shown = [(name, "synthetic") for name in [*BERT, *GPT2]]
    shown += [(name, "published") for name in released(lab)]
    return claims + [
        Claim(
            section=section,
            quantity=f"alone: {name}",
            unit="TOPS",
            ours=tops(lab, [name]),
            inputs=inputs,
            source="no published value",
        )
        for name, inputs in shown
    ]


def released(lab: Lab) -> list[str]:
    """Names of the authors' own GPT-2 files, where they are at hand."""
    return [name for name in lab.names if name.startswith("summary-gpt2-small")]


def traffic(lab: Lab) -> list[Claim]:
    """Compare with the reductions by technique."""
    section = "DRAM reduction by technique"
    bert = [reduction(lab.trace(name)) for name in BERT]
    gpt2 = [reduction(lab.trace(name)) for name in GPT2]

    def all_30(name: str) -> float:
        """Mean over 22 BERT and 8 GPT-2 benchmarks, as the paper averages."""
        mean_bert = fmean(getattr(r, name) for r in bert)
        mean_gpt2 = fmean(getattr(r, name) for r in gpt2)
        total = BERT_BENCHMARKS * mean_bert + GPT2_BENCHMARKS * mean_gpt2
        return float(total / (BERT_BENCHMARKS + GPT2_BENCHMARKS))

    both = f"{BERT_NOTE}; GPT-2: {_GPT2_NOTE}"
    rows = [
        ("token and local value pruning, GPT-2", 3.8,
         geometric_mean([r.tokens_and_values for r in gpt2]), _GPT2_NOTE),
        ("token and local value pruning, all 30", 1.9, all_30("tokens_and_values"), both),
        ("head pruning, all 30", 1.1, all_30("heads"), both),
        ("quantisation, all 30", 5.1, all_30("quantisation"), both + "; from 32 bit"),
        ("all techniques, all 30", 10.0, all_30("bytes"), both),
        ("computation, all 30", 2.1, all_30("operations"), both),
    ]  # fmt: skip
    return [
        Claim(
            section=section,
            quantity=quantity,
            unit="times fewer",
            published=published,
            ours=ours,
            inputs="synthetic",
            assumed=note,
            source="SpAtten, abstract and section V",
        )
        for quantity, published, ours, note in rows
    ]
