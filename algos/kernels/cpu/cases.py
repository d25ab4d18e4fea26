"""What a CPU bench times: groups of implementations of the same work, the dense ones first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from algos.kernels.cpu.attention import attention_flops, gathered_attention
from algos.kernels.cpu.blocks import BlockSparse, Floats, pack
from algos.kernels.cpu.spmm import multiply

SPARSITIES = (0.7, 0.8, 0.9)
"""Shen et al. 2023, arXiv:2306.16601, prune to 70 to 90 %."""
WEIGHTS = {"bert-base": (768, 3072), "bert-large": (1024, 4096)}
"""(outputs, inputs) of the second feed-forward product; Devlin et al., NAACL 2019, section 3."""
TOKENS = (1, 16, 128, 384)
TOKEN_SHARES = (0.1, 0.3, 0.8, 0.9)
HEAD_SHARES = (3 / 16, 6 / 16)
"""left out, layer by layer, in the workloads that SpAtten's authors released for GPT-2 small
(tokens) and medium (heads); Wang et al., HPCA 2021, arXiv:2012.09852"""
ATTENTIONS = {"bert-base-384": (384, 384), "gpt2-small-decode-1024": (1, 1024)}
"""(queries, keys) of 12 heads of dimension 64"""

Call = Callable[[], Any]


@dataclass(frozen=True)
class Member:
    """One implementation of a group's work."""

    kernel: str
    implementation: str
    sparsity: float
    tokens: int
    flops: float
    """that are computed: what is left out is not counted"""
    dram_bytes: int
    copy: Callable[[], Call]
    """makes operands of its own and a call on them"""
    check: Callable[[], float]
    """returns the relative error against float64"""


@dataclass(frozen=True)
class Group:
    """Implementations that are timed in turn, so that what disturbs one disturbs all."""

    shape: str
    size: str
    members: tuple[Member, ...]

    def key(self, member: Member) -> str:
        """What makes a row the same one."""
        left_out = f"{member.sparsity:.4g}"
        return f"{member.kernel} {self.size} {member.implementation} {left_out}"


def groups(seed: int = 0) -> Iterator[Group]:
    """Yield the groups; operands of one are made when it is asked for."""
    random = np.random.default_rng(seed)
    for shape, (outputs, inputs) in WEIGHTS.items():
        for tokens in TOKENS:
            yield product_group(shape, outputs, inputs, tokens, random)
    for shape, (queries, keys) in ATTENTIONS.items():
        yield attention_group(shape, 12, queries, keys, 64, random)


def product_group(
    shape: str, outputs: int, inputs: int, tokens: int, random: np.random.Generator
) -> Group:
    """Return dense products, tokens as columns and as rows, and block-sparse ones."""
    weight = random.standard_normal((outputs, inputs), dtype=np.float32)
    activations = random.standard_normal((inputs, tokens), dtype=np.float32)
    size = {"outputs": outputs, "inputs": inputs, "tokens": tokens}
    members = [_dense(weight, activations, by_rows) for by_rows in (False, True)]
    members += [_blocks(pack(weight, sparsity), activations) for sparsity in SPARSITIES]
    return Group(f"{shape} {outputs}x{inputs}x{tokens}", _json(size), tuple(members))


def _dense(weight: Floats, activations: Floats, by_rows: bool) -> Member:
    import torch

    def operands() -> tuple[Any, Any, Any]:
        own = torch.from_numpy(weight).clone()
        if by_rows:
            given = torch.from_numpy(activations).T.contiguous()
            return given, own.T, torch.empty(given.shape[0], own.shape[0])
        given = torch.from_numpy(activations)
        return own, given, torch.empty(own.shape[0], given.shape[1])

    def copy() -> Call:
        left, right, out = operands()
        return lambda: torch.matmul(left, right, out=out)

    def check() -> float:
        left, right, _ = operands()
        return _error((left @ right).numpy(), (left.double() @ right.double()).numpy())

    return Member(
        kernel="cpu-dense-matmul",
        implementation="torch matmul, tokens as rows" if by_rows else "torch matmul",
        sparsity=0.0,
        tokens=activations.shape[1],
        flops=2.0 * weight.size * activations.shape[1],
        dram_bytes=_moved(weight.nbytes, weight.shape[0], activations),
        copy=copy,
        check=check,
    )


def _blocks(packed: BlockSparse, activations: Floats) -> Member:
    def copy() -> Call:
        own = BlockSparse(packed.values.copy(), packed.columns.copy(), packed.inputs)
        out = np.empty((packed.outputs, activations.shape[1]), np.float32)
        return lambda: multiply(own, activations, out)

    def check() -> float:
        wanted = packed.dense().astype(np.float64) @ activations.astype(np.float64)
        return _error(multiply(packed, activations), wanted)

    return Member(
        kernel="cpu-block-spmm",
        implementation="numba, blocks of 4x1",
        sparsity=packed.sparsity,
        tokens=activations.shape[1],
        flops=2.0 * packed.values.size * activations.shape[1],
        dram_bytes=_moved(packed.held_bytes, packed.outputs, activations),
        copy=copy,
        check=check,
    )


def attention_group(
    shape: str, heads: int, queries: int, keys: int, dim: int, random: np.random.Generator
) -> Group:
    """Return torch's attention of all, of fewer tokens, and of fewer heads."""
    size = {"heads": heads, "queries": queries, "keys": keys, "dim": dim}
    given = [random.standard_normal((1, heads, n, dim), np.float32) for n in (queries, keys, keys)]
    members = [_attention("cpu-dense-attention", given, None, None, 0.0)]
    for share in TOKEN_SHARES:
        kept = np.sort(random.choice(keys, round(keys * (1 - share)), replace=False))
        left_out = 1 - len(kept) / keys
        members.append(_attention("cpu-gathered-tokens", given, kept, None, left_out))
    for share in HEAD_SHARES:
        kept = np.sort(random.choice(heads, round(heads * (1 - share)), replace=False))
        left_out = 1 - len(kept) / heads
        members.append(_attention("cpu-gathered-heads", given, None, kept, left_out))
    return Group(shape, _json(size), tuple(members))


def _attention(kernel: str, given: list[Floats], tokens: Any, heads: Any, share: float) -> Member:
    import torch

    chosen = [None if kept is None else torch.from_numpy(kept) for kept in (tokens, heads)]

    def operands() -> list[Any]:
        return [torch.from_numpy(array).clone() for array in given]

    def copy() -> Call:
        own = operands()
        return lambda: gathered_attention(*own, *chosen)

    def check() -> float:
        own = operands()
        wanted = gathered_attention(*(tensor.double() for tensor in own), *chosen)
        return _error(gathered_attention(*own, *chosen).numpy(), wanted.numpy())

    query, key, _ = given
    pruned_queries = tokens is not None and query.shape[2] == key.shape[2]
    _, all_heads, all_queries, dim = query.shape
    own_heads = all_heads if heads is None else len(heads)
    shape = (1, own_heads, len(tokens) if pruned_queries else all_queries, dim)
    keys = int(key.shape[2]) if tokens is None else len(tokens)
    return Member(
        kernel=kernel,
        implementation="torch scaled_dot_product_attention",
        sparsity=share,
        tokens=all_queries,
        flops=attention_flops(shape, keys),
        dram_bytes=4 * shape[1] * dim * (2 * shape[2] + 2 * keys),
        copy=copy,
        check=check,
    )


def _moved(weight_bytes: int, outputs: int, activations: Floats) -> int:
    return weight_bytes + activations.nbytes + 4 * outputs * int(activations.shape[1])


def _error(found: Any, wanted: Any) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _json(size: dict[str, int]) -> str:
    return json.dumps(size, sort_keys=True, separators=(",", ":"))
