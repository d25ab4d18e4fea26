"""What is compared: the workloads of SpAtten's and AccLLM's papers, and the machines of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from reports.experiments.accllm.workloads import LLAMA, RIVAL_FORMAT
from reports.experiments.spatten.workloads import (
    GENERATED_TOKENS,
    MEDIUM,
    SMALL,
    falling_shares,
    generation_trace,
)
from workloads.shapes import SHAPES
from workloads.synthetic import shape_trace
from workloads.synthetic_llm import decoder_trace
from workloads.trace import Trace

CONTEXTS = (1024, 4096, 8192, 32_768)
LAST_TOKEN = GENERATED_TOKENS - 1
BERT_TOKENS = 384
SPATTEN, ACCLLM = "spatten", "accllm"
HBM_ALONE = (
    "energy and power of the HBM alone: no energy of a DSP48E2, BRAM or URAM access is published"
)
FAMILIES = {SPATTEN: "SpAtten's workloads", ACCLLM: "AccLLM's workload: Llama-2-7B, decode"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A simulated machine on a workload."""

    name: str
    """of `sim.machines.MACHINES`"""
    trace: Callable[[], Trace] | None = None
    """of the machine's own compression; None: that of the workload"""
    own: str = ""
    """that compression, in words"""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One unit of work: a sentence, or a generated token."""

    name: str
    title: str
    family: str
    trace: Callable[[], Trace]
    assumed: str
    machines: tuple[Machine, ...]
    published: tuple[str, ...] = ()
    """workloads of `systems.tsv`; latencies of one system are added"""
    context: int = 0
    """keys, of a decode"""


def _machines(*names: str) -> tuple[Machine, ...]:
    return tuple(Machine(name=name) for name in names)


def _bert() -> Trace:
    """Return the attention of a sentence of BERT-Base, without its linear layers."""
    shape = SHAPES["bert-base"]
    trace = shape_trace(
        shape,
        BERT_TOKENS,
        token_keep=falling_shares(shape, 0.15, 0.6),
        head_keep=falling_shares(shape, 0.30, 0.8),
        k_bits=8,
        v_bits=8,
    )
    return Trace(trace.header, trace.tables | {"matmul": trace.tables["matmul"].slice(0, 0)})


def _whole_token() -> Trace:
    """Return one token of GPT-2 Medium with its linear layers, of the authors' ratios."""
    shape = SHAPES["gpt2-medium"]
    return shape_trace(
        shape,
        1023,
        token_keep=MEDIUM.token_shares,
        head_keep=[heads / shape.heads for heads in MEDIUM.heads],
        value_keep=MEDIUM.value_share,
        k_bits=MEDIUM.key_bits,
        v_bits=MEDIUM.value_bits,
        generate=1,
        prefill=False,
    )


def _llama(context: int) -> Workload:
    last = context - 1
    rival = partial(decoder_trace, LLAMA, last, 1, prefill=False, **RIVAL_FORMAT)
    return Workload(
        name=f"llama-2-7b-{context}",
        title=f"Llama-2-7B: a token at {context:,} keys",
        family=ACCLLM,
        trace=partial(decoder_trace, LLAMA, last, 1, prefill=False),
        assumed="2:4 pruned 2-bit weights, 8-bit activations, 4-bit K and V, a window of 4 + 2,044 "
        "tokens, as AccLLM compresses; output layer in 8 bits on the machines, half precision on "
        "GPUs",
        machines=(
            Machine(name="accllm-u280", note=HBM_ALONE),
            Machine(
                name="flightllm-u280",
                trace=rival,
                own="its own compression: mixed 3/4/5-bit weights, 8-bit K and V, all keys",
                note=HBM_ALONE,
            ),
        ),
        published=("llama-2-7b-decode",) if context == CONTEXTS[0] else (),
        context=context,
    )


_HEADS = _machines("spatten", "a3", "mnnfast", "dense")
WORKLOADS: tuple[Workload, ...] = (
    Workload(
        name="bert-base-384",
        title="BERT-Base: attention of 384 tokens",
        family=SPATTEN,
        trace=_bert,
        assumed="ratios assumed on the paper's schedule: tokens kept fall linearly to 60 %, heads "
        "to 80 %; K and V in 8 bits",
        machines=_HEADS,
    ),
    Workload(
        name="gpt2-small-1024",
        title="GPT-2 Small: attention of a token at 1,024 keys",
        family=SPATTEN,
        trace=partial(generation_trace, replace(SMALL, iterations=(LAST_TOKEN,))),
        assumed=f"{SMALL.note}; the last of 32 tokens",
        machines=_HEADS,
        context=1024,
    ),
    Workload(
        name="gpt2-medium-1024",
        title="GPT-2 Medium: attention of a token at 1,024 keys",
        family=SPATTEN,
        trace=partial(generation_trace, replace(MEDIUM, iterations=(LAST_TOKEN,))),
        assumed=f"{MEDIUM.note}; the last of 32 tokens",
        machines=_HEADS,
        published=("gpt2-medium-decode",),
        context=1024,
    ),
    Workload(
        name="gpt2-medium-1024-whole",
        title="GPT-2 Medium: a whole token at 1,024 keys",
        family=SPATTEN,
        trace=_whole_token,
        assumed=f"{MEDIUM.note}; linear layers in 8 bits on the machine, half precision on GPUs",
        machines=_machines("spatten-e2e"),
        published=("gpt2-medium-decode", "gpt2-medium-fc"),
        context=1024,
    ),
    *(_llama(context) for context in CONTEXTS),
)
