"""Where the sources on SpAtten disagree, and what `spatten` does about each: a table.

Sources: the paper (HPCA 2021, arXiv:2012.09852), the authors' released RTL and its test bench,
their C++ model and their workload files (mit-han-lab/spatten).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from workloads.config import Config


class Difference(NamedTuple):
    """One disagreement. Without a field it is decided elsewhere or has no effect here: see why."""

    number: str  # of the list of differences; a field may serve several
    field: str | None  # dotted name of a field of `spatten`
    default: Any  # value of the field, as JSON has it
    alternatives: tuple[Any, ...]  # what else the sources say
    sentence: str  # what it is about, and who says what


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "G1", "dram.n_bl", 2, (4,),
        "Clocks that 32 bytes hold a pseudo-channel: 2 is 32 GB/s a channel (paper, C++ model), "
        "4 is 16 GB/s (the memory model that the released RTL runs with).",
    ),
    Difference(
        "G2", None, None, (),
        "Depth of the fetcher's FIFOs: data leave them at once here, since buffer rows are taken "
        "before a fetch, so no depth changes a cycle.",
    ),
    Difference(
        "G3", "precision.lsb_tensors", "QK", ("K", "QKV"),
        "Operands whose LSBs a recomputation fetches: the inputs of the probabilities (paper), K "
        "alone (released RTL and workloads), or V too. The threshold belongs to the method.",
    ),
    Difference(
        "G4", "precision.wide_operands", "direct", ("8+4",),
        "Static widths above 8 bits: fetched whole (paper), or K as 8+4 bits with all products "
        "twice and V cut to 8 bits (released RTL).",
    ),
    Difference(
        "G5", None, None, (),
        "Place of the LSBs behind a 6-bit first plane: the released RTL writes them four bits too "
        "low, which changes values, not time.",
    ),
    Difference(
        "G6", None, None, (),
        "Base of the kept ratios and tokens that come back: decided by the method or the workload "
        "file; the machine runs the counts of the trace.",
    ),
    Difference(
        "G7", "value_selection", "query", ("head", "pair"),
        "Who selects V rows: every query (paper), the first query of a fetch or the first head "
        "of a 6-bit pair (released RTL).",
    ),
    Difference(
        "G7", "prefill_value_pruning", False, (True,),
        "Whether the queries of a prefill select V rows at all: the paper does not say, and its "
        "BERT throughput is out of reach if they do.",
    ),
    Difference(
        "G8", "value_topk.lanes", 16, (2, 4),
        "Elements that a top-k engine compares per cycle: 16 (paper), twice the scores per cycle "
        "(released RTL: 2 in the eighth-size machine), 4 (default of the C++ model).",
    ),
    Difference(
        "G9", "value_topk.pass_overhead_cycles", 3, (4, 5),
        "Cycles of a quick-select pass beside its elements: 3 (released latency model), 4 (C++ "
        "model), 5 to 6 (structure of the released RTL); the paper is silent.",
    ),
    Difference(
        "G10", None, None, (),
        "Whether k counts from 0 or 1: exactly k elements are kept here, ties by lowest index.",
    ),
    Difference(
        "G11", "flow.cascade_topk", "parallel", ("serial", "hidden"),
        "Cascade selection: beside the critical path (paper), added to each layer (C++ model), "
        "without any time (released RTL).",
    ),
    Difference(
        "G12", "softmax.fifo_rows", 128, (32, 256),
        "Rows of 8 scores that wait for their sum: 128 (paper); the released RTL has no softmax "
        "and only the 256 rows of `requant.fifo_rows`.",
    ),
    Difference(
        "G12", "softmax.divide_latency_cycles", 36, (0,),
        "Cycles of the softmax stages, like `softmax.exp_latency_cycles` and "
        "`softmax.sum_latency_cycles`: 87 together (C++ model), 0 (released RTL).",
    ),
    Difference(
        "G12", "query_key.latency_cycles", 11, (8,),
        "Cycles through the Q.K array: an adder tree of 512 inputs (C++ model) or trees of 64 "
        "(released RTL).",
    ),
    Difference(
        "G13", None, None, (),
        "Width of accumulators: sums are exact here, the released RTL wraps them at 12 bits; it "
        "changes values, not time.",
    ),
    Difference(
        "G14", "key_buffer.heads", 16, (2,),
        "Heads that the K buffer, and likewise `value_buffer.heads`, holds at a time: 2 where a "
        "half holds one head only, 16 where short heads share the space (released RTL). The "
        "paper gives the size of two heads of 1,024 tokens and is silent on short ones.",
    ),
    Difference(
        "G14", "flow.prefetch_keys", True, (False,),
        "Fetching K of the next heads during a head (paper: fully pipelined), or only after its "
        "last product (released RTL).",
    ),
    Difference(
        "G14", "flow.generation_sram", False, (True,),
        "K and V of a generated token: not stored in SRAM (paper), or always (released RTL).",
    ),
    Difference(
        "G15", "fetch.stored_bits", (4, 8, 12), ((4, 6, 8, 12),),
        "Widths in DRAM: 4, 8 and 12 bits (paper), or 6 bits packed without gaps too (released "
        "RTL, in pairs of heads). Other widths take the next larger one; 12+4 bits are fetched as "
        "such, though a product takes 12.",
    ),
    Difference(
        "G16", None, None, (),
        "Area efficiency and speed-ups that differ inside the paper: no input of a model.",
    ),
    Difference(
        "G17", None, None, (),
        "Savings by quantisation that differ inside the paper: no input of a model.",
    ),
    Difference(
        "G18", "prune_queries", True, (False,),
        "Queries of pruned tokens in a prefill: left out (paper), or computed, if the C++ "
        "model's sentence length is the unpruned one.",
    ),
    Difference(
        "G19", None, None, (),
        "Meaning of the workload files' names: no input of a model.",
    ),
    Difference(
        "G20", None, None, (),
        "What the release needs to be built: no input of a model.",
    ),
    Difference(
        "G21", "flow.hold_keys", False, (True,),
        "K rows are held until the LSB decision: where LSBs may be needed, or always (released "
        "RTL); the paper is silent.",
    ),
    Difference(
        "G22", "flow.reset_cycles", 0, (144,),
        "Reset and clearing of the SRAMs before the first request: not part of a result, or 16 "
        "and half a buffer's lines as the released counts include them.",
    ),
    Difference(
        "A3", "flow.layers_wait", True, (False,),
        "A layer waits for the outputs of the layer before, from which its operands are made, "
        "or rows of all layers follow each other (released test bench); the paper is silent.",
    ),
)  # fmt: skip
"""In the order of the list."""


def value_of(config: Config, field: str) -> Any:
    """Return the value of a dotted field."""
    value: Any = config
    for name in field.split("."):
        value = getattr(value, name)
    return value


def departures(config: Config) -> tuple[str, ...]:
    """Return a sentence for each option that a configuration has changed."""
    return tuple(
        f"Differs from the default ({d.number}): {d.field} = {value_of(config, d.field)}, "
        f"not {d.default}."
        for d in DIFFERENCES
        if d.field is not None and value_of(config, d.field) != d.default
    )
