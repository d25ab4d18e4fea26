"""Traces of a decoder that generates text, compressed by numbers of bits, a pattern and a window.

Nothing is drawn: what such compression keeps does not depend on data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workloads.errors import InputError
from workloads.shapes import ModelShape
from workloads.trace import Trace, TraceBuilder, TraceHeader

IntArray = np.ndarray[Any, np.dtype[np.int64]]

_NOTES = (
    "Synthetic: bits, pattern and window were given, no model was pruned. Every head, layer and "
    "token is alike; the output layer is a product of the last layer for the newest token."
)


def decoder_trace(
    shape: ModelShape,
    prompt: int,
    generate: int,
    *,
    weight_bits: int = 2,
    activation_bits: int = 8,
    kv_bits: int = 4,
    pattern: str | None = "2:4",
    sinks: int = 4,
    recent: int | None = 2044,
    prefill: bool = True,
) -> Trace:
    """Return a trace of a prompt and of generated tokens.

    The first generated token comes from the prefill, so step n attends to prompt + n tokens.

    Args:
        shape: the model.
        prompt: tokens before the first generated one.
        generate: tokens generated one by one, after the prefill's.
        weight_bits, activation_bits, kv_bits: of a number.
        pattern: "n:m", the weights kept of neighbouring inputs; None: all.
        sinks: first tokens that every query sees.
        recent: latest tokens that a query sees, its own included; None: all tokens.
        prefill: false: only the generated tokens, on a cache that is there.

    Raises:
        InputError: a number below its least, or a pattern that is none.
    """
    least = {
        "prompt": (prompt, 1),
        "generate": (generate, 0 if prefill else 1),
        "sinks": (sinks, 0),
    }
    least["recent"] = (1 if recent is None else recent, 1)
    for name, (value, low) in least.items():
        if value < low:
            raise InputError(f"{name} must be at least {low}, not {value}")
    n, m = _pattern(pattern)
    steps = np.arange(0 if prefill else 1, generate + 1)
    builder = TraceBuilder()
    builder.add(
        "sequences", 1, sequence=0, tokens_dense=prompt, tokens=prompt, generated_tokens=generate
    )
    _add_attention(builder, shape, prompt, steps, activation_bits, kv_bits, sinks, recent)
    products = {
        "weight_bits": weight_bits,
        "activation_bits": activation_bits,
        "pattern": "n:m" if m else "dense",
        "pattern_n": n,
        "pattern_m": m,
        "density": n / m if m else 1.0,
    }
    _add_products(builder, shape, prompt, steps, activation_bits, products)
    layers = shape.layers * len(steps)
    context = np.repeat(prompt + steps, shape.layers)
    builder.add(
        "tokens",
        layers,
        sequence=0,
        step=np.repeat(steps, shape.layers),
        layer=np.tile(np.arange(shape.layers), len(steps)),
        tokens_dense=context,
        alive=context,
    )
    given: dict[str, Any] = {
        "prompt": prompt,
        "generate": generate,
        "weight_bits": weight_bits,
        "activation_bits": activation_bits,
        "kv_bits": kv_bits,
        "pattern": pattern,
        "sinks": sinks,
        "recent": recent,
        "prefill": prefill,
    }
    return builder.finish(
        TraceHeader(
            workload=f"{shape.name}-{prompt}+{generate}",
            model=shape,
            method="compressed",
            parameters=given,
            seed=0,
            accuracy={},
            synthetic=True,
            notes=_NOTES,
        )
    )


def _pattern(pattern: str | None) -> tuple[int, int]:
    if pattern is None:
        return 0, 0
    n, colon, m = pattern.partition(":")
    if not (colon and n.isdigit() and m.isdigit() and 0 < int(n) <= int(m)):
        raise InputError(f"pattern must be n:m with 0 < n <= m, not {pattern!r}")
    return int(n), int(m)


def _add_attention(
    builder: TraceBuilder,
    shape: ModelShape,
    prompt: int,
    steps: IntArray,
    activation_bits: int,
    kv_bits: int,
    sinks: int,
    recent: int | None,
) -> None:
    """Add a row for each head; in a prefill all keys are seen by some query."""
    heads = shape.layers * shape.heads
    context = prompt + steps
    seen = context if recent is None else np.minimum(context, sinks + recent)
    keys = np.where(steps == 0, context, seen)
    queries = np.where(steps == 0, context, 1)
    head = np.arange(shape.heads)

    def of_step(values: IntArray) -> IntArray:
        return np.repeat(values.astype(np.int32), heads)

    def of_layer(values: IntArray) -> IntArray:
        return np.tile(values.astype(np.int32), len(steps))

    builder.add(
        "attention",
        heads * len(steps),
        sequence=0,
        step=of_step(steps),
        layer=of_layer(np.repeat(np.arange(shape.layers), shape.heads)),
        head=of_layer(np.tile(head, shape.layers)),
        kv_head=of_layer(np.tile(head * shape.kv_heads // shape.heads, shape.layers)),
        queries_dense=of_step(queries),
        queries=of_step(queries),
        keys_dense=of_step(context),
        keys=of_step(keys),
        values=of_step(keys),
        values_fetched=of_step(keys),
        head_dim=shape.head_dim,
        q_bits=activation_bits,
        k_bits=kv_bits,
        v_bits=kv_bits,
        kv_policy="full" if recent is None else "sink_recent",
        sink_tokens=0 if recent is None else sinks,
        recent_tokens=0 if recent is None else recent,
        keys_evicted=of_step(np.where(steps == 0, 0, context - keys)),
    )


def _add_products(
    builder: TraceBuilder,
    shape: ModelShape,
    prompt: int,
    steps: IntArray,
    activation_bits: int,
    columns: dict[str, Any],
) -> None:
    wide, q_width, kv_width = shape.intermediate, shape.heads * shape.head_dim, (
        shape.kv_heads * shape.head_dim
    )  # fmt: skip
    sizes = {
        "query": (shape.hidden, q_width),
        "key": (shape.hidden, kv_width),
        "value": (shape.hidden, kv_width),
        "output": (q_width, shape.hidden),
        "up": (shape.hidden, wide),
        "down": (wide, shape.hidden),
    }
    if shape.gated:
        sizes["gate"] = (shape.hidden, wide)
    rows = np.where(steps == 0, prompt, 1)
    for operator, (k, n) in sizes.items():
        m = np.repeat(rows, shape.layers)
        builder.add(
            "matmul",
            len(m),
            sequence=0,
            step=np.repeat(steps, shape.layers),
            layer=np.tile(np.arange(shape.layers), len(steps)),
            operator=operator,
            m_dense=m,
            k_dense=k,
            n_dense=n,
            m=m,
            k=k,
            n=n,
            **columns,
        )
    if shape.vocabulary:
        builder.add(
            "matmul",
            len(steps),
            sequence=0,
            step=steps,
            layer=shape.layers - 1,
            operator="head",
            m_dense=1,
            k_dense=shape.hidden,
            n_dense=shape.vocabulary,
            m=1,
            k=shape.hidden,
            n=shape.vocabulary,
            activation_bits=activation_bits,
        )
