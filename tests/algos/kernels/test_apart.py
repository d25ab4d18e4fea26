"""A process of its own: answers, errors, deaths."""

from __future__ import annotations

import operator
import os

import pytest

from algos.kernels.apart import Died, run_apart


def test_an_answer_and_an_error() -> None:
    assert run_apart(operator.add, 2, 3) == 5
    assert run_apart(os.getenv, "TRITON_INTERPRET") is None  # set in this process
    with pytest.raises(ZeroDivisionError):
        run_apart(operator.truediv, 1, 0)


def test_a_death() -> None:
    with pytest.raises(Died, match="its process ended with exit code 3"):
        run_apart(os._exit, 3)


def test_whoever_watches_may_end_it() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_apart(os.read, os.pipe()[0], 1, watch=stop)
