"""Shapes of models, as data: what an accelerator sees of a transformer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Dimensions of one transformer stack. `source` says where they were read."""

    name: str
    layers: int
    heads: int
    kv_heads: int  # < heads under grouped-query attention
    head_dim: int
    hidden: int
    intermediate: int  # width of the feed-forward layer, of each expert where there are several
    gated: bool = False  # True: gate, up and down projections; False: up and down
    experts: int = 0  # feed-forward layers that a router chooses from; 0: one, for all tokens
    experts_per_token: int = 0  # of them, those that a token passes through
    vocabulary: int = 0  # outputs of the last layer; 0: none
    source: str


def _mha(
    name: str, layers: int, heads: int, hidden: int, intermediate: int, source: str
) -> ModelShape:
    return ModelShape(
        name=name,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        hidden=hidden,
        intermediate=intermediate,
        source=source,
    )


_BERT = "Devlin et al., NAACL 2019, section 3"
_GPT2 = "Radford et al. 2019, table 2"
_DEIT = "Touvron et al., ICML 2021, table 1"

SHAPES: dict[str, ModelShape] = {
    shape.name: shape
    for shape in (
        _mha("bert-base", 12, 12, 768, 3072, _BERT),
        _mha("bert-large", 24, 16, 1024, 4096, _BERT),
        _mha("gpt2-small", 12, 12, 768, 3072, _GPT2),
        _mha("gpt2-medium", 24, 16, 1024, 4096, _GPT2),
        _mha("deit-small", 12, 6, 384, 1536, _DEIT),
        ModelShape(
            name="llama-2-7b",
            layers=32,
            heads=32,
            kv_heads=32,
            head_dim=128,
            hidden=4096,
            intermediate=11008,
            gated=True,
            vocabulary=32000,
            source="Touvron et al. 2023, arXiv:2307.09288, and the published checkpoint's config",
        ),
        ModelShape(
            name="llava-1.5-7b",
            layers=32,
            heads=32,
            kv_heads=32,
            head_dim=128,
            hidden=4096,
            intermediate=11008,
            gated=True,
            vocabulary=32000,
            source="Liu et al., CVPR 2024: the language model is Vicuna-7B, a Llama-2-7B",
        ),
    )
}
