"""Digits on canvases: always the same, held-out ones apart, patches and answers worked by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from workloads.digits import (
    CANVAS,
    GRID,
    NOISE,
    PATCH,
    alone,
    alone_on_patches,
    drawn_at,
    held_out_images,
    held_out_questions,
    ink_patches,
    load_digits,
    questions,
    scenes,
    text_ids,
)
from workloads.errors import InputError


def test_digits_are_split_once_and_for_all() -> None:
    train, held_out = load_digits()
    assert (train.images.shape, held_out.images.shape) == ((1437, 8, 8), (360, 8, 8))
    assert (held_out.images.min(), held_out.images.max()) == (0, 1)
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in held_out.images)
    assert np.array_equal(load_digits()[1].labels, held_out.labels)


def test_held_out_canvases_do_not_change() -> None:
    first, second = held_out_images(), held_out_images()
    assert first.images.shape == (360, 1, CANVAS, CANVAS)
    assert first.images.dtype == np.float32
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, load_digits()[1].labels)
    drawn, asked = held_out_questions()
    again, asked_again = held_out_questions()
    assert np.array_equal(drawn.pixels, again.pixels)
    assert asked == asked_again
    assert (drawn.pixels.shape, len(asked)) == ((72, 1, CANVAS, CANVAS), 504)


def test_a_digit_is_drawn_whole_and_at_its_place() -> None:
    image = np.zeros((1, 8, 8), np.float32)
    image[0, 2, 5] = 1
    drawn = drawn_at(image, np.array([[12.0, 20.0]]), np.eye(2)[None])[0]
    expected = np.zeros((CANVAS, CANVAS))
    expected[12 - 4 + 2, 20 - 4 + 5] = 1
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    # twice as large: a pixel becomes 2 x 2, and a bilinear edge of 1/4 and 3/4 about it
    large = drawn_at(image, np.array([[12.0, 20.0]]), 0.5 * np.eye(2)[None])[0]
    rise = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(large[7:11, 21:25], np.outer(rise, rise), atol=1e-6)
    assert large.sum() == pytest.approx(4)


def test_canvases_keep_digits_inside_on_faint_noise() -> None:
    images = np.ones((40, 8, 8), np.float32)
    for drawn in (
        alone(images, np.random.default_rng(0), turn=0.0),
        alone_on_patches(images, np.random.default_rng(0)),
    ):
        ink = (drawn > 0.5).sum((1, 2, 3))
        assert ink.min() >= 15 * 15  # nothing is cut off at the edge
        assert ink.max() <= 25 * 25
        assert np.median(drawn) <= NOISE


def test_ink_patches_are_counted_row_by_row() -> None:
    pixels = np.full((1, 1, CANVAS, CANVAS), NOISE, np.float32)
    pixels[0, 0, PATCH, 3 * PATCH] = 0.3
    found = ink_patches(pixels)
    assert found.shape == (1, GRID[0] * GRID[1])
    assert np.flatnonzero(found[0]).tolist() == [GRID[1] + 3]


def test_scenes_show_in_each_quadrant_what_they_say() -> None:
    drawn = scenes(load_digits()[1], 60, np.random.default_rng(4), turn=0.0)
    half = CANVAS // 2
    for quadrant in range(4):
        down, right = divmod(quadrant, 2)
        part = drawn.pixels[:, 0, down * half : (down + 1) * half, right * half :][:, :, :half]
        assert np.array_equal(part.max((1, 2)) > 0.5, drawn.digits[:, quadrant] >= 0)


def test_answers_worked_by_hand() -> None:
    asked = questions(np.array([[7, -1, 3, 7], [-1, -1, -1, -1]]))
    found = [(q.canvas, q.text, q.answer) for q in asked]
    assert found[:7] == [
        (0, "top left?", "7"),
        (0, "top right?", "none"),
        (0, "bottom left?", "3"),
        (0, "bottom right?", "7"),
        (0, "how many digits?", "3"),
        (0, "largest?", "7"),
        (0, "smallest?", "3"),
    ]
    assert [answer for _, _, answer in found[7:]] == ["none"] * 4 + ["0", "none", "none"]
    assert asked[0].ids.tolist() == text_ids("top left?").tolist() == list(b"top left?")


def test_no_canvas_is_refused() -> None:
    with pytest.raises(InputError, match=r"^canvases must be at least 1, not 0$"):
        held_out_questions(0)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"pip install 'prunesim\[models\]', .* scikit-learn"):
        load_digits()
