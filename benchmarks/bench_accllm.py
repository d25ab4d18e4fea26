"""Time of a Llama-2-7B on `accllm-u280`: 1,024 tokens, alone and after a prompt of 7,168."""

from __future__ import annotations

import sys
import time

from measure import Measured, show

from sim.machines import make_machine
from sim.run import simulate
from workloads.shapes import SHAPES
from workloads.synthetic_llm import decoder_trace
from workloads.trace import Trace

SIMULATE_BAR_S, WHOLE_BAR_S = 2.0, 10.0
TOKENS, PROMPT = 1024, 7168


def timed_trace(prompt: int, *, prefill: bool) -> tuple[Trace, float]:
    """Return a trace and the seconds it took."""
    started = time.perf_counter()
    trace = decoder_trace(SHAPES["llama-2-7b"], prompt, TOKENS, prefill=prefill)
    return trace, time.perf_counter() - started


def warm_seconds(trace: Trace) -> float:
    """Return the best time of three after one run that may compile."""
    machine = make_machine("accllm-u280")
    simulate(trace, machine)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        simulate(trace, machine)
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Time decoding alone, then a whole run with its trace."""
    decode, _ = timed_trace(512, prefill=False)
    alone = warm_seconds(decode)
    whole, made = timed_trace(PROMPT, prefill=True)
    ran = warm_seconds(whole)
    rows = [
        Measured(f"simulate {TOKENS:,} tokens ({decode.rows('attention'):,} attention rows)", alone,
                 "s", SIMULATE_BAR_S),
        Measured(f"make the trace of {PROMPT:,} + {TOKENS:,} tokens", made, "s"),
        Measured("simulate it", ran, "s"),
        Measured("both", made + ran, "s", WHOLE_BAR_S),
    ]  # fmt: skip
    if not show("Llama-2-7B on accllm-u280", rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
