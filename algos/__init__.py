"""Pruning methods. `METHODS` is the only list of them: tests, reports and command line read it."""

from __future__ import annotations

from algos.base import Method
from algos.dense import Dense
from algos.expert.random import RandomExperts
from algos.expert.stun import Stun
from algos.expert.uncurl import Uncurl
from algos.head.dha import Dha
from algos.head.michel import Michel
from algos.head.random import RandomHeads
from algos.head.shrp import Shrp
from algos.layer.finercut import FinerCut
from algos.layer.random import RandomLayers
from algos.layer.shortgpt import ShortGpt
from algos.structured.adapt_pruner import AdaptPruner
from algos.structured.axformer import AxFormer
from algos.structured.cfsp import Cfsp
from algos.structured.comp import Comp
from algos.structured.flap import Flap
from algos.structured.llm_pruner import LlmPruner
from algos.structured.lrp import PruningByExplaining
from algos.structured.magnitude import MagnitudeStructures
from algos.structured.maw import Maw
from algos.structured.obspa import Obspa
from algos.structured.optin import Optin
from algos.structured.random import RandomStructures
from algos.structured.tyr import Tyr
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
        # expert
        RandomExperts,
        Stun,
        Uncurl,
        # head
        Dha,
        Michel,
        RandomHeads,
        Shrp,
        # layer
        FinerCut,
        RandomLayers,
        ShortGpt,
        # structured
        AdaptPruner,
        AxFormer,
        Cfsp,
        Comp,
        Flap,
        LlmPruner,
        MagnitudeStructures,
        Maw,
        Obspa,
        Optin,
        PruningByExplaining,
        RandomStructures,
        Tyr,
        # weight
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
