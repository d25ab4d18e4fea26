"""Pruning methods. `METHODS` is the only list of them: tests, reports and command line read it."""

from __future__ import annotations

from algos.base import Method
from algos.dense import Dense
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from algos.visual.agile_pruner import AgilePruner
from algos.visual.aim import AIMMerge
from algos.visual.correlation_guided import CorrelationGuided
from algos.visual.divprune import DivPrune
from algos.visual.fastervlm import FasterVLM
from algos.visual.flowcut import FlowCut
from algos.visual.fopru import FoPru
from algos.visual.hiprune import HiPrune
from algos.visual.holov import HoloV
from algos.visual.idpruner import IDPruner
from algos.visual.norm import NormVisual
from algos.visual.random import RandomVisual
from algos.visual.recoverable import RecoverableCompression
from algos.visual.todre import ToDREDiversity
from algos.visual.tome import ToMe
from algos.visual.uniform import UniformVisual
from algos.visual.vflowopt import VFlowOpt
from algos.visual.zoo_prune import ZOOPrune

_VISUAL: tuple[type[Method], ...] = (
    AgilePruner,
    AIMMerge,
    CorrelationGuided,
    DivPrune,
    FasterVLM,
    FlowCut,
    FoPru,
    HiPrune,
    HoloV,
    IDPruner,
    NormVisual,
    RandomVisual,
    RecoverableCompression,
    ToDREDiversity,
    ToMe,
    UniformVisual,
    VFlowOpt,
    ZOOPrune,
)

_METHODS: tuple[type[Method], ...] = (Dense, RandomPruning, SpAtten, *_VISUAL)

METHODS: dict[str, type[Method]] = {method.name: method for method in _METHODS}
