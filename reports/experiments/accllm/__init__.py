"""AccLLM, arXiv 2505.03745: the published figures that a simulation can give, beside ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reports.experiments.accllm.ablation import ablation
from reports.experiments.accllm.decoding import comparison, decoding
from reports.experiments.accllm.memory import efficiency, prefill, traffic
from reports.experiments.accllm.pictures import pictures as pictures
from reports.experiments.accllm.resources import resources
from reports.experiments.accllm.workloads import traces
from reports.experiments.claim import Claim
from reports.experiments.lab import Lab
from workloads.errors import InputError

TITLE = "AccLLM (arXiv 2505.03745) reproduced"
PAPER = "Liang, Shi, Shao, Wang: AccLLM, arXiv:2505.03745; IEEE TVLSI 34(4), 2026"

EXPERIMENTS: dict[str, Callable[[Lab], list[Claim]]] = {
    "decoding": decoding,
    "FlightLLM": comparison,
    "ablation": ablation,
    "memory traffic": traffic,
    "HBM": efficiency,
    "prefill": prefill,
    "resources": resources,
}
"""In the order of the page."""

NOT_SIMULATED = (
    "Perplexity: the machine runs traces; the algorithms measure it on a model.",
    "Power: no energy of a DSP48E2, BRAM or URAM access is published. Token/J takes the published "
    "33 W and 45 W; the HBM's modelled energy stands beside it.",
    "GPU and CPU baselines: the paper's per-length latencies could not be had.",
)

MACHINES = ("accllm-u280", "flightllm-u280")
"""Whose fidelity the page shows."""

WITHOUT_FILES = ""

DIFFERENCES_TITLE = "What the paper leaves open, and what the machine does"


def make_lab(files: Path | None) -> Lab:
    """Return the laboratory.

    Raises:
        InputError: a folder is given, and the authors released no files.
    """
    if files is not None:
        raise InputError(f"traces must be left out for accllm, no files were released, not {files}")
    return Lab(traces())


def differences() -> Any:
    """Return what was assumed, as a table of text."""
    from reports.summary import TextTable

    columns = ["", "field of accllm-u280", "default", "alternatives", "what it is about"]
    return TextTable(columns, [list(row) for row in OPEN_POINTS], [False] * 5)


OPEN_POINTS = (
    ("A1", "weight_channels", "24", "32, any", "Pseudo-channels that hold weights; FlightLLM feeds "
     "its weight buffers from 8 for each of 3 SLRs."),
    ("A2", "weights.index", "position", "pattern", "2 bits for each kept weight, or one 3-bit "
     "pattern for each quad: 11 % fewer weight bytes."),
    ("A3", "weights.group_of", "dense", "kept", "Whether a group of 64 counts inputs or kept "
     "weights."),
    ("A4", "weights.zero_bits", "2", "16", "An integer zero point of the codes' width, or FP16."),
    ("A5", "kv.zero_bits", "4", "0, 16", "Zero point of a token and head; the paper gives the "
     "scale only."),
    ("A6", "head_bits", "8", "2, 16", "The output layer's precision is not stated."),
    ("A7", "engine.vector_dsps", "2048", "any", "DSPs that work on one token. With all 4096 "
     "packing would buy nothing in decoding, and the paper has 1.28 times."),
    ("A8", "engine.matrix_dsps", "4096", "any", "DSPs that work on a tile; 4497 are published."),
    ("A9", "nonlinear.lanes", "32", "any", "Width of the nonlinear unit: 400 DSPs remain for it."),
    ("A10", "buffers.bank_beats", "4096", "any", "On-chip buffers: 2 banks of 16 URAM in all for "
     "each pseudo-channel, 512 of the card's 960."),
    ("A11", "token_tile", "64", "multiples of 64", "Tokens that share a weight in a prefill."),
    ("A12", "", "", "", "Base of the ablation: 8-bit weights and cache, dense, one product a DSP; "
     "the paper does not say, nor whether its steps are cumulative."),
    ("A13", "", "", "", "Sinks: 4 with 2,044 recent tokens are exactly the published 1 GB in "
     "FP16; the paper's text says 2."),
)  # fmt: skip
"""Number, field, default, alternatives, what it is about."""
