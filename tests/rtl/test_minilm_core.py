"""Real attention through the core: MiniLM's heads, in Verilator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtl.build import simulate
from rtl.registry import find_block
from sim.blocks.softmax import exponent_multiplier

pytestmark = [pytest.mark.rtl, pytest.mark.model]

TEXT = "A pruning method is judged by what it leaves out and by what the answer still is."
LAYERS = (0, -1)


@pytest.fixture(scope="module")
def operands() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Q, K and V of every head of two layers."""
    torch = pytest.importorskip("torch")
    from workloads.capture import Recorder, attached
    from workloads.models import load_encoder

    loaded = load_encoder()
    ids = torch.tensor([loaded.tokenizer(TEXT)["input_ids"]])
    recorder = Recorder()
    with torch.no_grad(), attached(loaded.model, recorder):
        loaded.model(input_ids=ids)
    steps = [recorder.layers[layer].step for layer in LAYERS]
    return [
        tuple(x[0, head].double().numpy() for x in (step.query, step.key, step.value))
        for step in steps
        for head in range(loaded.shape.heads)
    ]  # type: ignore[misc]


def codes(x: np.ndarray) -> tuple[np.ndarray, float]:
    scale = np.abs(x).max() / 2047
    return np.round(x / scale).astype(np.int64), float(scale)


CASES = {"plain": (1.0, 0, 0.9999), "low_bits": (1.0, 409, 0.999), "half_values": (0.5, 409, 0.8)}
"""Share of V rows kept, threshold for low bits (0: K in full width), least cosine with float."""


def test_outputs_are_golden_and_near_float_attention(operands: Any, tmp_path: Path) -> None:
    """Bit for bit the golden functions', as the bench checks; here the distance to float."""
    dim, tokens = operands[0][0].shape[1], len(operands[0][0])
    quantised = [[codes(x) for x in head] for head in operands]
    query, key, value = (np.array([head[part][0] for head in quantised]) for part in range(3))
    scales = [[part[1] for part in head] for head in quantised]
    for name, (share, threshold, _) in CASES.items():
        np.savez(
            tmp_path / f"{name}.npz",
            query=query,
            key=key,
            value=value,
            multiplier=[exponent_multiplier(q * k / np.sqrt(dim)) for q, k, _ in scales],
            values=int(np.ceil(share * tokens)),
            lsb=threshold > 0,
            threshold=threshold,
        )
    block = find_block("core")
    config = block.make_config(
        {"channels": dim, "rows": 2, "tokens": 32, "topk_lanes": 4, "memory_channels": 4}
    )
    outcomes = simulate(
        block, config, tmp_path / "sim", bench="rtl.bench.core_heads", given=tmp_path
    )
    assert [outcome.passed for outcome in outcomes] == [True], outcomes
    for name, (_, _, least) in CASES.items():
        outputs = np.load(tmp_path / f"{name}.outputs.npy")
        cosines = [
            cosine(ours * scale[2] / 4095, float_attention(*head))
            for head, ours, scale in zip(operands, outputs, scales, strict=True)
        ]
        assert min(cosines) > least, (name, min(cosines))


def float_attention(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    weights = np.exp(query @ key.T / np.sqrt(query.shape[1]))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True) @ value)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
