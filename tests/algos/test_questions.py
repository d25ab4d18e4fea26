"""Prompts of a vision-language model, and what counts as an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from algos.decoding import run_decoder
from algos.dense import Dense
from algos.questions import Encoded, answered, answering, ask, encode
from algos.visual.base import Selected, VisualInput, VisualMethod
from workloads.digits import Question, held_out_questions
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.tiny_models import TinyVlm, load_vlm
from workloads.tiny_models import ask as answers_of

pytestmark = pytest.mark.model
CANVASES = 3


class FirstTokens(VisualMethod):
    """Keeps the first tokens, or their mean; not in the registry, for it has no name."""

    merged: ClassVar[bool] = False

    def select(self, seen: VisualInput) -> Selected:
        kept = torch.arange(self.kept(seen.features.shape[1])).expand(len(seen.features), -1)
        if not self.merged:
            return Selected(kept=kept)
        n = seen.features.shape[1]
        return Selected(kept=kept, merge=torch.full((len(kept), kept.shape[1], n), 1 / n))


class Means(FirstTokens):
    merged: ClassVar[bool] = True


@pytest.fixture(scope="module")
def seen() -> tuple[TinyVlm, Encoded, list[Question], Any]:
    vlm = load_vlm()
    scenes, questions = held_out_questions()
    few = replace(scenes, pixels=scenes.pixels[:CANVASES], digits=scenes.digits[:CANVASES])
    asked = [question for question in questions if question.canvas < CANVASES]
    return vlm, encode(vlm, few), asked, few


def run(vlm: TinyVlm, groups: Any) -> Any:
    loaded = LoadedModel(vlm.language, None, vlm.language_shape, vlm.name)
    return run_decoder(Dense(bits=32), loaded, [group.texts for group in groups], workload="t")


def test_unpruned_answers_are_those_of_greedy_decoding(seen: Any) -> None:
    vlm, encoded, questions, scenes = seen
    groups = ask(vlm, encoded, questions)
    right = answered(groups, run(vlm, groups).predicted, len(questions))
    greedy = answers_of(vlm, scenes, questions)
    assert right == [q.answer == text for q, text in zip(questions, greedy, strict=True)]


def test_a_calibration_sample_costs_what_its_answer_costs_in_the_run(seen: Any) -> None:
    vlm, encoded, questions, _ = seen
    groups = ask(vlm, encoded, questions)
    calibration = answering(vlm, groups)
    nats = [row.mean() for group in run(vlm, groups).nats for row in group]
    with torch.no_grad():
        losses = [
            float(calibration.loss(calibration.read(vlm.language(**sample)), number))
            for number, sample in enumerate(calibration.samples)
        ]
    assert losses == pytest.approx(nats, rel=1e-3, abs=1e-5)


def test_a_choice_shortens_the_prompt_and_keeps_places(seen: Any) -> None:
    vlm, encoded, questions, _ = seen
    groups = ask(vlm, encoded, questions, FirstTokens(keep_ratio=0.25))
    for group in groups:
        words = len(questions[group.numbers[0]].ids)
        assert group.texts.prompt.shape[1] == 25 + words
        assert group.texts.tokens_dense == 100 + words
        assert group.texts.positions[0].tolist() == [*range(25), *range(100, 100 + words)]
        assert group.texts.layout.visual == range(25)
    trace = run(vlm, groups).trace({"x": 1.0})
    prefill = trace.array("attention", "step") == 0
    dense, kept = (trace.array("attention", n)[prefill] for n in ("keys_dense", "keys"))
    assert set((dense - kept).tolist()) == {75}


def test_merged_tokens_are_mixtures(seen: Any) -> None:
    vlm, encoded, questions, _ = seen
    whole = ask(vlm, encoded, questions)[0].texts.prompt
    merged = ask(vlm, encoded, questions, Means(keep_ratio=0.01))[0].texts.prompt
    torch.testing.assert_close(merged[:, 0], whole[:, :100].mean(1), atol=1e-5, rtol=1e-4)


def test_an_answer_needs_every_byte() -> None:
    group = type("Group", (), {})()
    group.numbers = [2, 0, 1]
    group.texts = type("Texts", (), {"following": torch.tensor([[1, 2], [1, 2], [1, 2]])})()
    predicted = [np.array([[1, 2], [1, 3], [9, 2]])]
    assert answered([group], predicted, 3) == [False, False, True]


def test_no_question_is_refused(seen: Any) -> None:
    with pytest.raises(InputError, match="questions must be at least 1, there are 0"):
        ask(seen[0], seen[1], [])
