"""Pruning methods. `METHODS` is the only list of them: tests, reports and command line read it."""

from __future__ import annotations

from algos.base import Method
from algos.dense import Dense
from algos.depth.dtop import DToP
from algos.depth.ftp import FTP
from algos.prompt.kg_rag import KGRAG
from algos.prompt.provence import Provence
from algos.token.adapt_infer import AdaptInfer
from algos.token.aim import AIM
from algos.token.catp import CATP
from algos.token.entropy_prune import EntropyPrune
from algos.token.feather import Feather
from algos.token.information_horizon import InformationHorizon
from algos.token.last_attention import LastAttention
from algos.token.lazy_llm import LazyLLM
from algos.token.ltp_cascade import LTPCascade
from algos.token.opti_prune import OptiPrune
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten
from algos.token.todre import ToDREDrop
from algos.token.token_transforming import TokenTransforming
from algos.token.transprune import TransPrune
from algos.token.zero_tprune import ZeroTPrune

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        # controls
        Dense,
        RandomPruning,
        # token
        AdaptInfer,
        AIM,
        CATP,
        EntropyPrune,
        Feather,
        InformationHorizon,
        LastAttention,
        LazyLLM,
        LTPCascade,
        OptiPrune,
        SpAtten,
        ToDREDrop,
        TokenTransforming,
        TransPrune,
        ZeroTPrune,
        # depth
        DToP,
        FTP,
        # prompt
        KGRAG,
        Provence,
    )
}
