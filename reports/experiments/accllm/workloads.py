"""Traces of Llama-2-7B by name, and what a run says of a token."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from reports.experiments.lab import Lab, Settings
from workloads.shapes import SHAPES
from workloads.synthetic_llm import decoder_trace
from workloads.trace import Trace

LLAMA = SHAPES["llama-2-7b"]
MACHINE, RIVAL = "accllm-u280", "flightllm-u280"
CONTEXTS = (128, 512, 1024, 2048, 4096, 7168, 32768)
PROMPTS = (128, 512, 1024, 2048, 7168)
USUAL = 1024
"""Keys at which the ablation is taken: the paper states none."""

OPERATORS = ("query", "gate", "down", "head", "attention")
"""Shown on the roofline, one at a time."""

RIVAL_FORMAT = {"weight_bits": 4, "kv_bits": 8, "pattern": None, "recent": None}
TRACE_NOTE = (
    "Llama-2-7B's shape, batch 1; 2:4 pruned 2-bit weights, 4-bit K and V, "
    "window of 4 + 2044 tokens"
)
RIVAL_NOTE = "FlightLLM: mixed 3/4/5-bit weights, 8-bit K and V, all keys"


def traces() -> dict[str, Callable[[], Trace]]:
    """Return the traces by name; a decode step attends to as many keys as its name says."""
    made: dict[str, Callable[[], Trace]] = {}
    for keys in CONTEXTS:
        made[step(keys)] = partial(_step, keys)
        made[step(keys, window=False)] = partial(_step, keys, recent=None)
    for keys in (128, 512):
        made[f"flightllm {keys}"] = partial(_step, keys, **RIVAL_FORMAT)
    for tokens in (128, 512):
        made[f"flightllm prefill {tokens}"] = partial(
            decoder_trace, LLAMA, tokens, 0, **RIVAL_FORMAT
        )
    for tokens in PROMPTS:
        made[f"prefill {tokens}"] = partial(decoder_trace, LLAMA, tokens, 0)
    for operator in OPERATORS:
        made[f"{operator} of {step(USUAL)}"] = partial(_only, operator, partial(_step, USUAL))
        whole = partial(decoder_trace, LLAMA, 512, 0)
        made[f"{operator} of prefill 512"] = partial(_only, operator, whole)
    return made


def step(keys: int, *, window: bool = True) -> str:
    """Return the name of a decode step."""
    return f"decode {keys}" + ("" if window else ", all keys")


def _step(keys: int, **settings: object) -> Trace:
    return decoder_trace(LLAMA, keys - 1, 1, prefill=False, **settings)  # type: ignore[arg-type]


def _only(operator: str, make: Callable[[], Trace]) -> Trace:
    """Leave only the rows of one operator."""
    import pyarrow.compute as pc

    trace = make()
    tables = dict(trace.tables)
    matmul = tables["matmul"]
    tables["matmul"] = matmul.filter(pc.equal(matmul["operator"], operator))
    if operator != "attention":
        tables["attention"] = tables["attention"].slice(0, 0)
    return Trace(trace.header, tables)


def token_s(
    lab: Lab, trace: str, machine: str = MACHINE, settings: Settings | None = None
) -> float:
    """Return the seconds of a decode step."""
    return float(lab.run(trace, machine, settings).row["latency_ns"]) * 1e-9


def rate(lab: Lab, trace: str, machine: str = MACHINE, settings: Settings | None = None) -> float:
    """Return tokens a second."""
    return 1 / token_s(lab, trace, machine, settings)
