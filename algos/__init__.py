"""Pruning methods. `METHODS` is the only list of them: tests, reports and command line read it."""

from __future__ import annotations

from algos.attention.hip import HiP
from algos.attention.lambda_attention import LambdaAttention
from algos.base import Method
from algos.dense import Dense
from algos.head.duo import DuoAttention
from algos.head.retrieval_head import RetrievalHead
from algos.kv.a2sf import A2SF
from algos.kv.cskv import CSKV
from algos.kv.deltallm import DeltaLLM
from algos.kv.fasa import FASA
from algos.kv.h2o import H2O
from algos.kv.infinite_vggt import InfiniteVGGT
from algos.kv.keydiff import KeyDiff
from algos.kv.knorm import KeyNorm
from algos.kv.mustafar import Mustafar
from algos.kv.observed import ObservedAttention
from algos.kv.random import RandomEviction
from algos.kv.recent import RecentOnly
from algos.kv.snapkv import SnapKV
from algos.kv.spatten_llm import SpAttenLLM
from algos.kv.streaming_llm import StreamingLLM
from algos.kv.think import ThinK
from algos.kv.tim import Tim
from algos.kv.tova import Tova
from algos.token.random import RandomPruning
from algos.token.spatten import SpAtten

_KV: tuple[type[Method], ...] = (
    A2SF,
    CSKV,
    DeltaLLM,
    DuoAttention,
    FASA,
    H2O,
    HiP,
    InfiniteVGGT,
    KeyDiff,
    KeyNorm,
    LambdaAttention,
    Mustafar,
    ObservedAttention,
    RandomEviction,
    RecentOnly,
    RetrievalHead,
    SnapKV,
    SpAttenLLM,
    StreamingLLM,
    ThinK,
    Tim,
    Tova,
)

_METHODS: tuple[type[Method], ...] = (Dense, RandomPruning, SpAtten, *_KV)

METHODS: dict[str, type[Method]] = {method.name: method for method in _METHODS}
