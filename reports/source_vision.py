"""Traces of models that see: a classifier of images, and one that answers questions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reports.console import Phases, Update

if TYPE_CHECKING:
    from algos.base import Method
    from workloads.tasks import Workload
    from workloads.trace import Trace

CALIBRATION = 16  # the last images, or canvases; accuracy is measured on the first
PROMPTED = "largest?"  # the question of calibration prompts, which are all of one length
_UNSEEN = -1  # id of the first visual token, which no byte has; the others go down from it


class _VisionSource:
    def __init__(self, workload: Workload, limit: int | None, seed: int) -> None:
        self._workload, self._seed = workload, seed
        self._count = workload.inputs if limit is None else min(limit, workload.inputs)


class ImageSource(_VisionSource):
    """A vision transformer on held-out digits; accuracy is the share of images named right."""

    def load(self, phases: Phases) -> None:
        """Load the model and draw the images."""
        with phases("load the model"):
            import torch

            from workloads.digits import held_out_images
            from workloads.tiny_models import load_vit

            torch.set_num_threads(1)
            self._loaded = load_vit()
            images = held_out_images()
            self._pixels, self._labels = images.images[: self._count], images.labels[: self._count]
            self._calibration = (
                torch.from_numpy(images.images[-CALIBRATION:]),
                images.labels[-CALIBRATION:].tolist(),
            )

    def trace(self, method: Method, update: Update) -> Trace:
        """Run the method in the model and measure its accuracy."""
        import torch

        from algos.images import run_images
        from algos.static.calibrate import labelled
        from algos.static.run import pruned
        from workloads.digits import GRID
        from workloads.tasks import top1

        pixels, labels = self._calibration
        samples = labelled([{"pixel_values": image[None]} for image in pixels], labels)
        acting, loaded, facts = pruned(method, self._loaded, samples, self._seed)
        done = run_images(
            acting,
            loaded,
            torch.from_numpy(self._pixels),
            GRID,
            workload=self._workload.name,
            seed=self._seed,
            facts=facts,
            progress=update,
        )
        return replace(done, method=method).trace({"top1": top1(done.logits, self._labels)})


class QuestionSource(_VisionSource):
    """A vision-language model; accuracy is the share of questions answered exactly.

    The trace is that of the language model: a prompt of visual tokens and a question, then the
    answer's bytes one by one. A static method prunes the language model; the vision encoder and
    the projector stay as they are.
    """

    def load(self, phases: Phases) -> None:
        """Load the model and let its encoder see all canvases."""
        with phases("load the model"):
            import torch

            from algos.questions import encode
            from workloads.digits import TEST_CANVASES, held_out_questions
            from workloads.models import LoadedModel
            from workloads.tiny_models import load_vlm

            torch.set_num_threads(1)
            self._vlm = vlm = load_vlm()
            self._loaded = LoadedModel(vlm.language, None, vlm.language_shape, vlm.name)
            scenes, questions = held_out_questions()
            self._encoded = encode(vlm, scenes)
            self._questions = [q for q in questions if q.canvas < self._count]
            late = TEST_CANVASES - CALIBRATION
            self._others = [q for q in questions if q.canvas >= late]

    def trace(self, method: Method, update: Update) -> Trace:
        """Run the method in the model and measure its accuracy."""
        from algos.decoding import calibrate, run_decoder
        from algos.dense import Dense
        from algos.questions import answered, ask
        from algos.static.run import pruned
        from algos.visual.base import VisualMethod

        asked = ask(self._vlm, self._encoded, self._questions, method, self._seed)
        acting, loaded, facts = pruned(method, self._loaded, self._answers(), self._seed)
        if isinstance(method, VisualMethod):  # all its decisions are taken: the model runs as it is
            acting = Dense()
        done = run_decoder(
            acting,
            loaded,
            [group.texts for group in asked],
            workload=self._workload.name,
            seed=self._seed,
            facts=facts,
            calibration=calibrate(acting, loaded, *self._prompts()),
            progress=update,
        )
        right = answered(asked, done.predicted, len(self._questions))
        found = {"answer_accuracy": sum(right) / len(right)}
        return replace(done, method=method).trace(found)

    def _answers(self) -> Any:
        """Return the calibration of static methods: a question a canvas, of every kind in turn."""
        from algos.questions import answering, ask

        each = len(self._others) // CALIBRATION  # questions about a canvas
        turns = [self._others[number * each + number % each] for number in range(CALIBRATION)]
        return answering(self._vlm, ask(self._vlm, self._encoded, turns))

    def _prompts(self) -> tuple[Any, Any]:
        """Return calibration prompts: ids, and embeddings."""
        import torch

        from algos.questions import ask

        alike = [question for question in self._others if question.text == PROMPTED]
        largest = max(ask(self._vlm, self._encoded, alike), key=lambda g: len(g.numbers))
        prompt = largest.texts.prompt
        visual, tokens = self._vlm.patches, prompt.shape[1]
        ids = torch.arange(_UNSEEN, _UNSEEN - visual, -1).expand(len(prompt), -1)
        text = torch.tensor(list(PROMPTED.encode())).expand(len(prompt), -1)
        assert tokens == visual + text.shape[1]
        return torch.cat((ids, text), 1), prompt
