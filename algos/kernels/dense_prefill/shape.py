"""Sizes of an attention over a prompt, and their limits."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from algos.kernels.base import DIMS, Count, KernelShape
from workloads.errors import InputError


class Prefill(KernelShape):
    """Size of an attention over a prompt."""

    batch: int = Field(1, ge=1)
    heads: int = Field(12, ge=1)
    kv_heads: int = Field(12, ge=1)
    queries: int = Field(384, ge=1, le=131_072)
    keys: int = Field(384, ge=1, le=131_072)
    dim: int = 64
    causal: bool = False

    def model_post_init(self, context: Any) -> None:
        check_heads(self.batch, self.heads, self.kv_heads, self.dim)
        if self.causal and self.queries > self.keys:
            raise InputError(
                f"prefill queries must be at most keys ({self.keys}) if causal, not {self.queries}"
            )

    @property
    def pairs(self) -> int:
        """Pairs of query and key of a head that see each other."""
        if not self.causal:
            return self.queries * self.keys
        return self.queries * self.keys - self.queries * (self.queries - 1) // 2

    @property
    def count(self) -> Count:
        """Two products of all pairs; Q, K and V read and the output written once."""
        rows = 2 * self.heads * self.queries + 2 * self.kv_heads * self.keys
        return Count(
            flops=4.0 * self.batch * self.heads * self.pairs * self.dim,
            dram_bytes=2 * self.batch * self.dim * rows,
        )


def check_heads(batch: int, heads: int, kv_heads: int, dim: int) -> None:
    """Raise InputError unless the kernels of prompts support these sizes."""
    if dim not in DIMS:
        raise InputError(f"prefill dim must be one of {DIMS}, not {dim}")
    if heads % kv_heads:
        raise InputError(
            f"prefill heads must be a multiple of kv_heads, {heads} is not of {kv_heads}"
        )
    if batch * heads > 65_535:  # grid dimension y
        raise InputError(f"prefill batch x heads must be at most 65535, not {batch * heads}")
