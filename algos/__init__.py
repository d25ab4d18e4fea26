"""Pruning methods. `METHODS` is the only list of them: tests, reports and command line read it."""

from __future__ import annotations

from algos.base import Method
from algos.dense import Dense
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Dense, RandomPruning, SpAtten)
}
