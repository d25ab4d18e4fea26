"""What a vision encoder could have computed: random, but with the shapes and sums of a real one."""

from __future__ import annotations

from dataclasses import replace

import torch

from algos.visual.base import VisualInput

WIDTH, HIDDEN, HEADS, CHANNELS, PATCH = 12, 8, 2, 4, 2


def visual_input(
    images: int = 3, grid: tuple[int, int] = (4, 5), layers: int = 4, seed: int = 0
) -> VisualInput:
    """Make the input of `images` images whose attention is far from even."""
    g = torch.Generator().manual_seed(seed)
    n = grid[0] * grid[1]

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g)

    projector = normal(HIDDEN, WIDTH)
    encoder_features = normal(images, n, HIDDEN)
    tokens = (images, HEADS, 1 + n)
    return VisualInput(
        features=encoder_features.tanh() @ projector,
        encoder_features=encoder_features,
        attention=[(3 * normal(*tokens, 1 + n)).softmax(-1) for _ in range(layers)],
        keys=[normal(*tokens, CHANNELS) for _ in range(layers)],
        values=[normal(*tokens, CHANNELS) for _ in range(layers)],
        grid=grid,
        pixels=normal(images, 3, grid[0] * PATCH, grid[1] * PATCH),
        text=normal(images, 6, WIDTH),
        project=lambda x: x.tanh() @ projector,
        generators=generators(images),
    )


def equal_input(images: int = 2, grid: tuple[int, int] = (3, 4)) -> VisualInput:
    """Make an input in which no token differs from another."""
    seen = visual_input(images, grid)
    n = grid[0] * grid[1]
    return replace(
        seen,
        features=torch.ones_like(seen.features),
        encoder_features=torch.ones_like(seen.encoder_features),
        attention=[torch.full_like(x, 1 / (1 + n)) for x in seen.attention],
        keys=[torch.ones_like(x) for x in seen.keys],
        values=[torch.ones_like(x) for x in seen.values],
        pixels=torch.zeros_like(seen.pixels),
        text=torch.ones_like(seen.text),
    )


def one_image(seen: VisualInput, image: int) -> VisualInput:
    """Return one image of an input, with a fresh generator as it had in the batch."""
    rows = slice(image, image + 1)
    return replace(
        seen,
        features=seen.features[rows],
        encoder_features=seen.encoder_features[rows],
        attention=[x[rows] for x in seen.attention],
        keys=[x[rows] for x in seen.keys],
        values=[x[rows] for x in seen.values],
        pixels=seen.pixels[rows],
        text=seen.text[rows],
        generators=(generators(image + 1)[-1],),
    )


def generators(images: int) -> tuple[torch.Generator, ...]:
    return tuple(torch.Generator().manual_seed(100 + i) for i in range(images))
