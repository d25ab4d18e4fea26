"""The integer machine against float attention, on random data and on a real model."""

import numpy as np
import pytest

from sim.machines import make_machine
from sim.machines.spatten_golden import golden_head


def codes(x, bits):
    scale = np.abs(x).max() / (2 ** (bits - 1) - 1)
    return np.round(x / scale).astype(np.int64), scale


def float_attention(query, key, value):
    scores = query @ key.T / np.sqrt(query.shape[1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, weights @ value


def run(query, key, value, lsb_bits=0, threshold=0, values_kept=None):
    (q, q_scale), (k, k_scale), (v, v_scale) = (codes(x, 12) for x in (query, key, value))
    head = golden_head(
        make_machine("spatten"),
        q,
        k,
        v,
        score_scale=q_scale * k_scale / np.sqrt(query.shape[1]),
        lsb_bits=lsb_bits,
        threshold=threshold,
        values_kept=values_kept or len(key),
    )
    return head, head.output * v_scale / 4095


@pytest.fixture
def operands():
    random = np.random.default_rng(3)
    return [random.normal(size=(n, 64)) for n in (30, 50, 50)]


def test_twelve_bits_are_close_to_float(operands):
    weights, expected = float_attention(*operands)
    head, output = run(*operands)
    assert np.abs(head.probabilities / 4095 - weights).max() < 2e-3
    assert np.abs(output - expected).max() < 0.02 * np.abs(expected).max()


def test_recomputation_gives_what_full_precision_gives(operands):
    full, _ = run(*operands)
    coarse, _ = run(*operands, lsb_bits=6)
    everything, _ = run(*operands, lsb_bits=6, threshold=4096)
    some, _ = run(*operands, lsb_bits=6, threshold=600)
    assert not np.array_equal(coarse.probabilities, full.probabilities)
    assert np.array_equal(everything.probabilities, full.probabilities)
    again = some.recomputed
    assert 0 < again.sum() < len(again)
    assert np.array_equal(some.probabilities[again], full.probabilities[again])
    assert np.array_equal(some.probabilities[~again], coarse.probabilities[~again])
    assert (coarse.probabilities.max(axis=1) < 600).tolist() == again.tolist()


def test_pruned_values_contribute_nothing(operands):
    head, _ = run(*operands, values_kept=5)
    assert (head.kept.sum(axis=1) == 5).all()
    dropped = np.where(head.kept, -1, head.probabilities).max(axis=1)
    weakest = np.where(head.kept, head.probabilities, 4096).min(axis=1)
    assert (dropped <= weakest).all()
    value, _ = codes(operands[2], 12)
    assert np.array_equal(head.output, np.where(head.kept, head.probabilities, 0) @ value)


@pytest.mark.model
def test_real_attention_of_minilm_survives_the_integers():
    """Cosine of the machine's outputs with float attention, every head of two layers."""
    torch = pytest.importorskip("torch")
    from workloads.capture import Recorder, attached
    from workloads.models import load_encoder

    loaded = load_encoder()
    text = "A pruning method is judged by what it leaves out and by what the answer still is."
    ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
    recorder = Recorder()
    with torch.no_grad(), attached(loaded.model, recorder):
        loaded.model(input_ids=ids)
    for layer in (recorder.layers[0], recorder.layers[-1]):
        for head in range(loaded.shape.heads):
            operands = [
                x[0, head].double().numpy()
                for x in (layer.step.query, layer.step.key, layer.step.value)
            ]
            _, expected = float_attention(*operands)
            _, output = run(*operands, lsb_bits=4, threshold=409)
            cosine = (output * expected).sum() / np.linalg.norm(output) / np.linalg.norm(expected)
            assert cosine > 0.999
