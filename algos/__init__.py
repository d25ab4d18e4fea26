"""Pruning methods. `METHODS` is the only list of them: tests, reports and command line read it."""

from __future__ import annotations

from algos.base import Method
from algos.dense import Dense
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from algos.weight.armor import Armor
from algos.weight.ast import Ast
from algos.weight.gblm import GblmPruner
from algos.weight.magnitude import Magnitude
from algos.weight.obert import OBert
from algos.weight.random import RandomWeights
from algos.weight.sparsegpt import SparseGpt
from algos.weight.wanda import Wanda

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Dense,
        RandomPruning,
        SpAtten,
        Armor,
        Ast,
        GblmPruner,
        Magnitude,
        OBert,
        RandomWeights,
        SparseGpt,
        Wanda,
    )
}
