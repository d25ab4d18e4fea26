"""Handwritten digits on larger canvases, and questions about them: seeded, always the same.

The digits are scikit-learn's (UCI, Alpaydin and Kaynak 1998: 1,797 images of 8 x 8). Every fifth,
in a seeded order, is held out: the test sets draw on nothing else. Digits cover a part of the
canvas; the rest is faint noise, so that its patches say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from workloads.errors import InputError

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]

CANVAS, PATCH = 40, 4  # pixels
GRID = (CANVAS // PATCH, CANVAS // PATCH)  # rows and columns of patches
NOISE = 0.1  # brightest noise; ink goes up to 1
QUADRANTS = ("top left", "top right", "bottom left", "bottom right")
TEST_SEED, TEST_CANVASES = 1, 72
END = "\n"  # closes an answer

_SOURCE = 8  # pixels of a stored digit's side
_SIZES = (16.0, 24.0)  # height and width of a digit that is alone
_SMALL_SIZES = (14.0, 18.0)  # of one in a quadrant
_COUNTS = (0.04, 0.24, 0.24, 0.24, 0.24)  # chance of 0, 1, ... digits on a canvas
_INK = 0.25  # a patch with a brighter pixel shows a part of a digit


class Digits(NamedTuple):
    """Images (n, 8, 8) with ink in [0, 1], and the digit that each shows (n,)."""

    images: Floats
    labels: Integers


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Canvases (n, 1, 40, 40) with the digit of each quadrant (n, 4), -1: empty."""

    pixels: Floats
    digits: Integers

    @property
    def ink(self) -> Booleans:
        """Return which patches show a part of a digit (n, patches), row by row."""
        return ink_patches(self.pixels)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about one canvas, by its number, and the one right answer."""

    canvas: int
    text: str
    answer: str

    @property
    def ids(self) -> Integers:
        """Return the bytes of the question (tokens,)."""
        return text_ids(self.text)


def text_ids(text: str) -> Integers:
    """Return the token ids of a text: its bytes."""
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64)


def load_digits() -> tuple[Digits, Digits]:
    """Return the digits to train on and the held-out ones, 1,437 and 360.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise InputError(
            "the images of digits must be installed with pip install 'prunesim[models]', "
            "the package scikit-learn is missing"
        ) from error
    stored = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(stored.target))
    images = (stored.images / 16).astype(np.float32)[order]
    labels = stored.target.astype(np.int64)[order]
    held_out = np.arange(len(order)) % 5 == 0
    return Digits(images[~held_out], labels[~held_out]), Digits(images[held_out], labels[held_out])


def held_out_images() -> Digits:
    """Return every held-out digit on a canvas of its own: (360, 1, 40, 40) and the labels."""
    digits = load_digits()[1]
    pixels = alone(digits.images, np.random.default_rng(TEST_SEED), turn=0.0)
    return Digits(pixels, digits.labels)


def held_out_questions(canvases: int = TEST_CANVASES) -> tuple[Scenes, list[Question]]:
    """Return canvases of held-out digits and seven questions about each.

    Raises:
        InputError: fewer than one canvas is wanted.
    """
    if canvases < 1:
        raise InputError(f"canvases must be at least 1, not {canvases}")
    drawn = scenes(load_digits()[1], canvases, np.random.default_rng(TEST_SEED), turn=0.0)
    return drawn, questions(drawn.digits)


def alone(images: Floats, random: np.random.Generator, turn: float) -> Floats:
    """Put each digit at a random place of a canvas, (n, 1, 40, 40).

    Args:
        images: (n, 8, 8).
        random: gives place, height, width, angle and noise.
        turn: largest angle, radians.
    """
    corners = np.zeros((len(images), 2))
    return _with_noise(_placed(images, corners, float(CANVAS), _SIZES, random, turn), random)


def alone_on_patches(images: Floats, random: np.random.Generator) -> Floats:
    """Do as `alone`, with digits of 16 or 24 pixels upright on whole patches: an easier lesson."""
    extent = random.choice((16, 24), (len(images), 1))
    first = (random.random((len(images), 2)) * ((CANVAS - extent) // PATCH + 1)).astype(np.int64)
    inverse = (_SOURCE / extent)[:, :, None] * np.eye(2)
    return _with_noise(drawn_at(images, first * PATCH + extent / 2, inverse), random)


def scenes(digits: Digits, count: int, random: np.random.Generator, turn: float) -> Scenes:
    """Draw canvases with digits in none to four of their quadrants; arguments as of `alone`."""
    filled = random.choice(len(_COUNTS), count, p=_COUNTS)
    rank = random.random((count, 4)).argsort(1)
    shown = rank < filled[:, None]
    chosen = random.integers(0, len(digits.labels), (count, 4))
    canvas, quadrant = np.nonzero(shown)
    half = CANVAS / 2
    corners = np.stack((quadrant // 2, quadrant % 2), 1) * half
    drawn = _placed(digits.images[chosen[shown]], corners, half, _SMALL_SIZES, random, turn)
    pixels = np.zeros((count, CANVAS, CANVAS), np.float32)
    np.add.at(pixels, canvas, drawn)
    return Scenes(
        pixels=_with_noise(pixels, random), digits=np.where(shown, digits.labels[chosen], -1)
    )


def questions(digits: Integers) -> list[Question]:
    """Return seven questions about each row of quadrants (n, 4): four local ones, three global."""
    asked = []
    for canvas, row in enumerate(digits.tolist()):
        seen = [digit for digit in row if digit >= 0]
        answers = {f"{where}?": _named(digit) for where, digit in zip(QUADRANTS, row, strict=True)}
        answers["how many digits?"] = str(len(seen))
        answers["largest?"] = _named(max(seen, default=-1))
        answers["smallest?"] = _named(min(seen, default=-1))
        asked += [Question(canvas=canvas, text=t, answer=a) for t, a in answers.items()]
    return asked


def ink_patches(pixels: Floats) -> Booleans:
    """Return which patches (n, patches) of canvases (n, 1, side, side) show a part of a digit."""
    rows, columns = pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH
    tiles = pixels.reshape(len(pixels), rows, PATCH, columns, PATCH)
    brightest: Booleans = tiles.max((2, 4)).reshape(len(pixels), -1) > _INK
    return brightest


def drawn_at(images: Floats, centres: Any, inverse: Any) -> Floats:
    """Draw digits on empty canvases by bilinear interpolation, (n, 40, 40).

    Args:
        images: (n, 8, 8).
        centres: (n, 2) row and column of a digit's middle, pixels of the canvas.
        inverse: (n, 2, 2) maps a distance on the canvas to one on the stored image.
    """
    axis = np.arange(CANVAS) + 0.5
    offsets = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1) - centres[:, None, None, :]
    # the stored images get a border of zeros: everything beyond them is empty
    places = np.einsum("nij,nrcj->nrci", inverse, offsets) + (_SOURCE + 1) / 2
    places = places.clip(0, _SOURCE + 1 - 1e-6)
    low = places.astype(np.int64)
    share = places - low
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    number = np.arange(len(images))[:, None, None]
    found = np.zeros(places.shape[:3])
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - share[..., 0]) * np.abs(1 - right - share[..., 1])
            found += weight * padded[number, low[..., 0] + down, low[..., 1] + right]
    return found.astype(np.float32)


def _placed(
    images: Floats,
    corners: Any,
    side: float,
    sizes: tuple[float, float],
    random: np.random.Generator,
    turn: float,
) -> Floats:
    """Draw each digit somewhere inside the square of a side at its corner."""
    extent = random.uniform(sizes[0], sizes[1], (len(images), 2))  # height and width
    centres = corners + extent / 2 + random.random((len(images), 2)) * (side - extent)
    angle = random.uniform(-turn, turn, len(images))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = (_SOURCE / extent)[:, :, None] * rotation.transpose(2, 0, 1)
    return drawn_at(images, centres, inverse)


def _with_noise(pixels: Floats, random: np.random.Generator) -> Floats:
    noise = np.asarray(random.uniform(0, NOISE, pixels.shape), np.float32)
    noisy: Floats = np.maximum(pixels, noise)[:, None]
    return noisy


def _named(digit: int) -> str:
    return "none" if digit < 0 else str(digit)
