"""Pruning methods. `METHODS` is the only list of them: tests, reports and command line read it."""

from __future__ import annotations

from algos.base import Method
from algos.dense import Dense
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from algos.weight.armor import Armor
from algos.weight.ast import Ast
from algos.weight.component_magnitude import ComponentMagnitude
from algos.weight.constant_block import ConstantBlock
from algos.weight.d_pruner import DPruner
from algos.weight.ecoflap import EcoFlap
from algos.weight.gblm import GblmPruner
from algos.weight.global_magnitude import GlobalMagnitude
from algos.weight.icbs import Icbs
from algos.weight.magnitude import Magnitude
from algos.weight.obert import OBert
from algos.weight.owl import Owl
from algos.weight.random import RandomWeights
from algos.weight.rd_layers import RdLayers
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
        ComponentMagnitude,
        ConstantBlock,
        DPruner,
        EcoFlap,
        GblmPruner,
        GlobalMagnitude,
        Icbs,
        Magnitude,
        OBert,
        Owl,
        RandomWeights,
        RdLayers,
        SparseGpt,
        Wanda,
    )
}
