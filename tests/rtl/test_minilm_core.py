"""Real attention through the core: MiniLM's heads and a cascade over its layers, in Verilator."""

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

CASES = {"plain": (1.0, 0, 0.9999), "low_bits": (1.0, 409, 0.999), "half_values": (0.5, 409, 0.8)}
"""Share of V rows kept, threshold for low bits (0: K in full width), least cosine with float."""
KEPT_TOKENS, KEPT_HEADS = (18, 16, 14, 12, 10, 8), (12, 12, 11, 10, 9, 8)
"""Of each layer, how many go on."""

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(scope="module")
def operands() -> tuple[Array, Array, Array]:
    """Q, K and V, (layers, heads, tokens, channels), of the unpruned model."""
    torch = pytest.importorskip("torch")
    from workloads.capture import Recorder, attached
    from workloads.models import load_encoder

    loaded = load_encoder()
    ids = torch.tensor([loaded.tokenizer(TEXT)["input_ids"]])
    recorder = Recorder()
    with torch.no_grad(), attached(loaded.model, recorder):
        loaded.model(input_ids=ids)
    steps = [layer.step for layer in recorder.layers]
    return tuple(
        np.array([getattr(step, part)[0].double().numpy() for step in steps])
        for part in ("query", "key", "value")
    )  # type: ignore[return-value]


@pytest.fixture(scope="module")
def folder(operands: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the bench and what it wrote beside them."""
    given: Path = tmp_path_factory.mktemp("minilm")
    heads_apart = ((-2, -1), (-2, -1), None)  # importances of heads compare in one scale of V
    codes, scales = zip(*map(quantised, operands, heads_apart), strict=True)
    dim, tokens = codes[0].shape[-1], codes[0].shape[-2]
    multiplier = np.vectorize(exponent_multiplier)(scales[0] * scales[1] / np.sqrt(dim))
    np.save(given / "value_scales.npy", scales[2])
    layers = dict(zip(("query", "key", "value"), codes, strict=True)) | {"multiplier": multiplier}
    for name, (share, threshold, _) in CASES.items():
        heads = {key: np.concatenate([part[layer] for layer in LAYERS])
                 for key, part in layers.items()}  # fmt: skip
        np.savez(
            given / f"{name}.heads.npz",
            **heads,
            values=int(np.ceil(share * tokens)),
            lsb=threshold > 0,
            threshold=threshold,
        )
    np.savez(
        given / "cascade.layers.npz",
        **layers,
        values=0.8,
        lsb=True,
        threshold=409,
        keep_tokens=KEPT_TOKENS,
        keep_heads=KEPT_HEADS,
    )
    block = find_block("core")
    config = block.make_config(
        {"channels": dim, "rows": 2, "tokens": 32, "topk_lanes": 4, "memory_channels": 4}
    )
    outcomes = simulate(block, config, given / "sim", bench="rtl.bench.core_heads", given=given)
    assert [outcome.passed for outcome in outcomes] == [True, True], outcomes
    return given


def quantised(x: Array, axes: Any) -> tuple[Array, Array]:
    """Return 12-bit codes and scales, (layers, heads), each of what lies along the axes."""
    scale = np.abs(x).max(axis=axes, keepdims=True) / 2047
    return np.round(x / scale).astype(np.int64), np.broadcast_to(scale, x.shape)[..., 0, 0]


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_golden_and_near_float_attention(
    name: str, operands: Any, folder: Path
) -> None:
    """Bit for bit the golden functions', as the bench checks; here the distance to float."""
    outputs = np.load(folder / f"{name}.outputs.npy")
    scales = np.load(folder / "value_scales.npy")
    heads = [
        (*(part[layer, head] for part in operands), scales[layer, head])
        for layer in LAYERS
        for head in range(scales.shape[1])
    ]
    cosines = [
        cosine(ours * scale / 4095, attention(query, key, value))
        for ours, (query, key, value, scale) in zip(outputs, heads, strict=True)
    ]
    assert min(cosines) > CASES[name][2], (name, min(cosines))


def test_the_core_keeps_what_the_float_cascade_keeps(operands: Any, folder: Path) -> None:
    """In all layers the core's own choice of tokens and heads is that of algorithm 1 in float64."""
    tokens, alive = (np.load(folder / f"cascade.{what}.npy") for what in ("tokens", "alive"))
    float_tokens, float_alive = float_cascade(*operands)
    assert tokens.sum(1).tolist() == list(KEPT_TOKENS)
    assert alive.sum(1).tolist() == list(KEPT_HEADS)
    assert tokens.tolist() == float_tokens.tolist()
    assert alive.tolist() == float_alive.tolist()


def float_cascade(query: Array, key: Array, value: Array) -> tuple[Array, Array]:
    """Return what stays behind each layer, (layers, tokens) and (layers, heads); no V pruned."""
    layers, heads, tokens, _ = query.shape
    token_sums, head_sums = np.zeros(tokens), np.zeros(heads)
    kept, alive = np.ones(tokens, np.int64), np.ones(heads, np.int64)
    all_kept, all_alive = [], []
    for layer in range(layers):
        rows = np.flatnonzero(kept)
        for head in np.flatnonzero(alive):
            q, k, v = (part[layer, head][rows] for part in (query, key, value))
            token_sums[rows] += weights(q, k).sum(0)
            head_sums[head] += np.abs(attention(q, k, v)).sum()
        for mask, sums, keep in (
            (kept, token_sums, KEPT_TOKENS[layer]),
            (alive, head_sums, KEPT_HEADS[layer]),
        ):
            best = np.argsort(-np.where(mask, sums, -1), kind="stable")[:keep]
            mask[:] = 0
            mask[best] = 1
        all_kept.append(kept.copy())
        all_alive.append(alive.copy())
    return np.array(all_kept), np.array(all_alive)


def weights(query: Array, key: Array) -> Array:
    """Return (queries, keys) probabilities."""
    powers = np.exp(query @ key.T / np.sqrt(query.shape[1]))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def attention(query: Array, key: Array, value: Array) -> Array:
    return np.asarray(weights(query, key) @ value)


def cosine(a: Array, b: Array) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
