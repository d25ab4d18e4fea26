"""The tiny vision, vision-language and mixture-of-experts models: files, what they have learnt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workloads.capture import Recorder, attached
from workloads.digits import Question, Scenes, held_out_images, held_out_questions, text_ids
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.tasks import answer_accuracy, top1
from workloads.text import held_out
from workloads.tiny.corpus import HELD_OUT_FILE, held_out_nats
from workloads.tiny.train_moe import CONTEXT, expert_load, imbalance, padded_experts
from workloads.tiny.train_vlm import lesson
from workloads.tiny_models import TINY, TinyVlm, ask, load_moe, load_vit, load_vlm

pytestmark = pytest.mark.model


def facts(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TINY / name / "training.json").read_text())
    return found


@pytest.fixture(scope="module")
def vit() -> LoadedModel:
    return load_vit()


@pytest.fixture(scope="module")
def vlm() -> TinyVlm:
    return load_vlm()


@pytest.fixture(scope="module")
def moe() -> LoadedModel:
    return load_moe()


@pytest.fixture(scope="module")
def asked() -> tuple[Scenes, list[Question]]:
    return held_out_questions()


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("name", ["vit", "vlm", "moe"])
def test_files_are_small(name: str) -> None:
    weights = list((TINY / name).rglob("*.safetensors"))
    assert weights
    assert sum(file.stat().st_size for file in weights) < 20e6


def test_loading_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    load_vlm()
    assert capfd.readouterr() == ("", "")


def test_shapes(vit: LoadedModel, vlm: TinyVlm, moe: LoadedModel) -> None:
    assert (vit.name, vit.shape.layers, vit.shape.heads, vit.shape.experts) == ("tiny-vit", 6, 8, 0)
    assert vlm.vision_shape.hidden == vit.shape.hidden
    assert (vlm.language_shape.layers, vlm.language_shape.heads) == (6, 8)
    assert (vlm.language_shape.kv_heads, vlm.grid, vlm.patches) == (4, (10, 10), 100)
    assert (moe.name, moe.shape.experts, moe.shape.experts_per_token) == ("tiny-moe", 8, 2)
    assert (moe.shape.gated, moe.shape.intermediate) == (True, 256)
    for model in (vit.model, vlm.vision, vlm.language, vlm.projector, moe.model):
        assert not model.training
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_digits_are_named(vit: LoadedModel) -> None:
    test = held_out_images()
    logits = vit.model(torch.from_numpy(test.images)).logits.numpy()
    found = top1(logits, test.labels)
    assert found == pytest.approx(facts("vit")["test_top1"], abs=0.003)  # one image of 360
    assert found > 0.95


def test_questions_are_answered(vlm: TinyVlm, asked: tuple[Scenes, list[Question]]) -> None:
    scenes, questions = asked
    some = questions[:84]
    answers = ask(vlm, scenes, some)
    assert answer_accuracy(answers, [q.answer for q in some]) > 0.9
    assert ask(vlm, scenes, some[:20:-3], batch=5) == answers[:20:-3]


@pytest.mark.slow
def test_all_questions_are_answered(vlm: TinyVlm, asked: tuple[Scenes, list[Question]]) -> None:
    scenes, questions = asked
    found = answer_accuracy(ask(vlm, scenes, questions), [q.answer for q in questions])
    assert found == pytest.approx(facts("vlm")["test_accuracy"], abs=0.005)
    assert found > max(0.9, facts("vlm")["majority_accuracy_by_question"])


def test_loss_of_the_experts_is_the_one_on_the_card(moe: LoadedModel) -> None:
    text = HELD_OUT_FILE.read_bytes()[: 16 * CONTEXT]
    nats = held_out_nats(moe.model, text, CONTEXT)
    assert nats == pytest.approx(facts("moe")["held_out_nats_16_windows"], abs=1e-3)
    assert facts("moe")["held_out_nats"] < facts("moe")["bigram_nats"] - 1


def test_every_expert_is_used(moe: LoadedModel) -> None:
    load = expert_load(moe.model, HELD_OUT_FILE.read_bytes()[: 2 * CONTEXT])
    assert load.shape == (moe.shape.layers, 8)
    torch.testing.assert_close(load.sum(1), torch.full((len(load),), 2.0))
    assert load.min() > 0.05
    assert np.array(facts("moe")["expert_load"]).min() > 0.1


def test_imbalance_worked_by_hand() -> None:
    even = torch.eye(4).repeat(2, 1) * 20  # each token sure of another expert of four
    assert imbalance((even, even), 1).item() == pytest.approx(2, abs=1e-5)
    one = torch.tensor([[0.0, 20, 0, 0]]).repeat(8, 1)
    assert imbalance((one, even), 1).item() == pytest.approx(4 + 1, abs=1e-5)
    # two layers that are each uneven and even together are uneven
    first, second = torch.tensor([[9.0, 0.0]] * 3), torch.tensor([[0.0, 9.0]] * 3)
    assert imbalance((first, second), 1).item() == pytest.approx(4, abs=1e-2)


def test_experts_padded_for_training_are_the_experts(moe: LoadedModel) -> None:
    torch.manual_seed(0)
    experts, width = moe.model.model.layers[0].mlp.experts, moe.shape.hidden
    hidden = torch.randn(30, width)
    chosen = torch.rand(30, 8).argsort(1)[:, :2]
    chosen[:9] = torch.tensor([3, 5])
    weights = torch.rand(30, 2)
    expected = torch.zeros(30, width)
    for token in range(30):
        for expert, weight in zip(chosen[token].tolist(), weights[token], strict=True):
            gate, up = (experts.gate_up_proj[expert] @ hidden[token]).chunk(2)
            inner = torch.nn.functional.silu(gate) * up
            expected[token] += weight * (experts.down_proj[expert] @ inner)
    found = padded_experts(experts, hidden, chosen, weights)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_experts_read_the_decoders_text(moe: LoadedModel) -> None:
    windows = held_out(moe, None, 3)
    assert windows.shape == (3, CONTEXT)
    assert bytes(windows[0].tolist()) == HELD_OUT_FILE.read_bytes()[:CONTEXT]


def _captured(model: Any, **inputs: Any) -> tuple[Any, Recorder, Any]:
    implementation = model.config._attn_implementation
    model.set_attn_implementation("eager")
    expected = model(**inputs)[0]
    model.set_attn_implementation(implementation)
    recorder = Recorder()
    with attached(model, recorder):
        return expected, recorder, model(**inputs)[0]


def test_capture_leaves_the_vision_models_as_they_are(vit: LoadedModel, vlm: TinyVlm) -> None:
    pixels = torch.from_numpy(held_out_images().images[:2])
    for model in (vit.model, vlm.vision):
        expected, recorder, found = _captured(model, pixel_values=pixels)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert [layer.probability.shape for layer in recorder.layers] == [(2, 8, 101, 101)] * 6


def test_capture_leaves_the_language_models_as_they_are(
    vlm: TinyVlm, moe: LoadedModel, asked: tuple[Scenes, list[Question]]
) -> None:
    pixels = torch.from_numpy(asked[0].pixels[:2])
    prompt = vlm.prompt_embeddings(vlm.features(pixels), torch.from_numpy(text_ids("largest?")))
    assert prompt.shape == (2, 108, vlm.language_shape.hidden)
    text = torch.tensor([list(HELD_OUT_FILE.read_bytes()[:60])])
    for model, inputs, tokens in (
        (vlm.language, {"inputs_embeds": prompt}, 108),
        (moe.model, {"input_ids": text}, 60),
    ):
        expected, recorder, found = _captured(model, use_cache=False, **inputs)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        assert len(recorder.layers) == model.config.num_hidden_layers
        assert recorder.layers[0].probability.shape[1:] == (8, tokens, tokens)
        assert recorder.layers[0].probability.triu(1).max() == 0


def test_answers_are_the_same_without_a_cache(
    vlm: TinyVlm, asked: tuple[Scenes, list[Question]]
) -> None:
    pixels = torch.from_numpy(asked[0].pixels[:4])
    prompt = vlm.prompt_embeddings(vlm.features(pixels), torch.from_numpy(text_ids("top left?")))
    assert vlm.answers(prompt) == vlm.answers(prompt, cache=False)


def test_fewer_visual_tokens_make_a_shorter_prompt(
    vlm: TinyVlm, asked: tuple[Scenes, list[Question]]
) -> None:
    features = vlm.features(torch.from_numpy(asked[0].pixels[:2]))
    ids = torch.from_numpy(np.stack([text_ids("largest?"), text_ids("largest?")]))
    prompt = vlm.prompt_embeddings(features[:, ::10], ids)
    assert prompt.shape == (2, 18, vlm.language_shape.hidden)
    torch.testing.assert_close(prompt[:, 3], vlm.projector(features[:, 30]))


def test_features_are_those_before_the_last_layer(
    vlm: TinyVlm, asked: tuple[Scenes, list[Question]]
) -> None:
    pixels, recorder = torch.from_numpy(asked[0].pixels[:2]), Recorder()
    with attached(vlm.vision, recorder):
        features = vlm.features(pixels)
    torch.testing.assert_close(features, recorder.layers[-1].hidden[:, 1:])


def test_questions_asked_together_do_not_see_each_other(
    vlm: TinyVlm, asked: tuple[Scenes, list[Question]]
) -> None:
    scenes, questions = asked
    taught = lesson(questions, 1, vlm.patches)
    features = vlm.features(torch.from_numpy(scenes.pixels[:1]))
    lowest = torch.finfo(torch.float32).min
    together = vlm.language(
        inputs_embeds=vlm.prompt_embeddings(features, taught.ids),
        attention_mask=torch.zeros(taught.visible.shape).masked_fill(~taught.visible, lowest),
        position_ids=taught.positions,
        use_cache=False,
    ).logits[0, vlm.patches :]
    at = 0
    for question in questions[:7]:
        prompt = vlm.prompt_embeddings(features, torch.from_numpy(question.ids))
        alone = vlm.language(inputs_embeds=prompt, use_cache=False).logits[0, -1]
        last = at + len(question.text) - 1
        torch.testing.assert_close(together[last], alone, rtol=0, atol=1e-4)
        assert taught.labels[0, last] == ord(question.answer[0])
        at += len(question.text) + len(question.answer)


def test_bad_questions_are_refused(vlm: TinyVlm, asked: tuple[Scenes, list[Question]]) -> None:
    with pytest.raises(InputError, match=r"^questions must be at least 1, not 0$"):
        ask(vlm, asked[0], [])
    wrong = Question(canvas=72, text="largest?", answer="1")
    with pytest.raises(InputError, match=r"^canvas must be one of 0 to 71, a question names 72$"):
        ask(vlm, asked[0], [wrong])


def test_a_folder_without_its_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^model must be a folder with vision, projector and"):
        load_vlm(tmp_path)
