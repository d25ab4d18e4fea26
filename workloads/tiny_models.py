"""Load the tiny models beside the decoder: a vision transformer, a vision-language model, experts.

Their weights lie in `workloads/tiny`, and so do the scripts that trained them. All run in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.digits import END, GRID, Question, Scenes, text_ids
from workloads.errors import InputError
from workloads.models import LoadedModel, load_folder, shape_of
from workloads.shapes import ModelShape

if TYPE_CHECKING:
    from torch import Tensor

TINY = Path(__file__).parent / "tiny"
VIT, VLM, MOE = "tiny-vit", "tiny-vlm", "tiny-moe"
FEATURE_LAYER = -2  # hidden states taken of the vision encoder: the second-last, as LLaVA-1.5 does
_LONGEST_ANSWER = len("none" + END)


@dataclass(frozen=True, kw_only=True)
class TinyVlm:
    """A LLaVA-like model in its three parts; hooks attach to `vision` and to `language`."""

    vision: Any  # transformers ViTModel without pooler
    projector: Any  # nn.Module: width of vision -> width of language
    language: Any  # transformers LlamaForCausalLM; takes inputs_embeds
    vision_shape: ModelShape
    language_shape: ModelShape
    grid: tuple[int, int] = GRID  # rows and columns of patches
    name: str = VLM

    @property
    def patches(self) -> int:
        """Return the number of visual tokens of an image."""
        return self.grid[0] * self.grid[1]

    def features(self, pixels: Tensor) -> Tensor:
        """Return features of the patches, without the class token, before the projector.

        They are what enters the last encoder layer, as in LLaVA-1.5; the last layer still runs,
        because methods read the attention of its class token.

        Args:
            pixels: (batch, 1, height, width).

        Returns:
            (batch, patches, hidden of the vision encoder).
        """
        return self.encode(pixels)[0]

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `features` does, and the class token behind the last layer."""
        seen = self.vision(pixel_values=pixels, output_hidden_states=True)
        return seen.hidden_states[FEATURE_LAYER][:, 1:], seen.last_hidden_state[:, 0]

    def prompt_embeddings(self, features: Tensor, question_ids: Tensor) -> Tensor:
        """Return what the language model reads: visual tokens, then the question.

        Args:
            features: (batch, any number of visual tokens, hidden of the vision encoder).
            question_ids: (batch, tokens) or (tokens,), which every image of the batch is asked.

        Returns:
            (batch, visual tokens + question tokens, hidden of the language model).
        """
        import torch

        words = self.language.get_input_embeddings()(question_ids)
        return torch.cat((self.projector(features), words.expand(len(features), -1, -1)), 1)

    def answers(self, embeddings: Tensor, *, cache: bool = True) -> list[str]:
        """Return the most likely answers to prompts of one length, byte by byte.

        Args:
            embeddings: (batch, tokens, hidden) as `prompt_embeddings` gives them.
            cache: keep keys and values; False: read the whole prompt again for each byte, which
                methods need that drop tokens between layers.
        """
        import torch

        kept = kept_state(self.language) if cache else {}
        embed = self.language.get_input_embeddings()
        ids, inputs = torch.zeros((len(embeddings), 0), dtype=torch.int64), embeddings
        with torch.inference_mode():
            for _ in range(_LONGEST_ANSWER):
                out = self.language(inputs_embeds=inputs, use_cache=cache, **kept)
                ids = torch.cat((ids, out.logits[:, -1:].argmax(-1)), 1)
                if (ids == ord(END)).any(1).all():
                    break
                inputs = embed(ids[:, -1:]) if cache else torch.cat((embeddings, embed(ids)), 1)
        return [_text(row) for row in ids.tolist()]


def ask(
    vlm: TinyVlm, scenes: Scenes, questions: Sequence[Question], *, batch: int = 36
) -> list[str]:
    """Return the model's answer to each question; questions of the same text run together.

    Raises:
        InputError: no questions, or one about a canvas that is not there.
    """
    import torch

    if not questions:
        raise InputError("questions must be at least 1, not 0")
    unknown = [q.canvas for q in questions if not 0 <= q.canvas < len(scenes.pixels)]
    if unknown:
        raise InputError(
            f"canvas must be one of 0 to {len(scenes.pixels) - 1}, a question names {unknown[0]}"
        )
    with torch.inference_mode():
        canvases = torch.from_numpy(scenes.pixels)
        starts = range(0, len(canvases), batch)
        features = torch.cat([vlm.features(canvases[s : s + batch]) for s in starts])
        found: dict[int, str] = {}
        for text in dict.fromkeys(question.text for question in questions):
            numbers = [n for n, question in enumerate(questions) if question.text == text]
            ids = torch.from_numpy(text_ids(text))
            for first in range(0, len(numbers), batch):
                some = numbers[first : first + batch]
                of_canvas = features[[questions[n].canvas for n in some]]
                found |= zip(some, vlm.answers(vlm.prompt_embeddings(of_canvas, ids)), strict=True)
    return [found[number] for number in range(len(questions))]


def kept_state(model: Any) -> dict[str, Any]:
    """Return an empty cache of keys and values under the name that the model's call knows it by."""
    import inspect

    from transformers import DynamicCache

    parameters = inspect.signature(model.forward).parameters  # transformers 5.24 renamed it
    return {"cache" if "cache" in parameters else "past_key_values": DynamicCache()}


def load_vit() -> LoadedModel:
    """Load the vision transformer that names a handwritten digit, in float32 for evaluation."""
    return load_folder(TINY / "vit", VIT, "AutoModelForImageClassification")


def load_moe() -> LoadedModel:
    """Load the mixture-of-experts decoder, whose tokens are bytes, in float32 for evaluation."""
    loaded = load_folder(TINY / "moe", MOE, "AutoModelForCausalLM")
    if hasattr(loaded.model, "set_experts_implementation"):  # since transformers 5
        loaded.model.set_experts_implementation("eager")  # the grouped product is slow on a CPU
    return loaded


def load_vlm(folder: Path = TINY / "vlm") -> TinyVlm:
    """Load the vision-language model in float32 for evaluation.

    Raises:
        InputError: a part is missing from the folder.
    """
    from safetensors.torch import load_file

    weights = folder / "projector" / "model.safetensors"
    if not weights.is_file():
        raise InputError(
            f"model must be a folder with vision, projector and language, not {folder}"
        )
    vision = load_folder(folder / "vision", None, "AutoModel", add_pooling_layer=False).model
    language = load_folder(folder / "language", None, "AutoModelForCausalLM").model
    projector = make_projector(vision.config.hidden_size, language.config.hidden_size)
    projector.load_state_dict(load_file(weights))
    return TinyVlm(
        vision=vision,
        projector=projector.float().eval(),
        language=language,
        vision_shape=shape_of(vision.config, f"{VLM}-vision"),
        language_shape=shape_of(language.config, f"{VLM}-language"),
    )


def make_projector(vision_hidden: int, language_hidden: int) -> Any:
    """Return the untrained projector: two layers with GELU, as LLaVA-1.5 has."""
    from torch.nn import GELU, Linear, Sequential

    return Sequential(
        Linear(vision_hidden, language_hidden), GELU(), Linear(language_hidden, language_hidden)
    )


def _text(ids: list[int]) -> str:
    return bytes(ids).decode("latin-1").partition(END)[0]
