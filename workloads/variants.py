"""What a sweep may vary of a workload: its lengths, and all of a decoder without weights."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from workloads.config import Config, unknown_name
from workloads.errors import InputError
from workloads.shapes import SHAPES
from workloads.synthetic_llm import decoder_trace
from workloads.tasks import WORKLOADS, Workload
from workloads.trace import Trace

DECODERS = tuple(name for name, shape in SHAPES.items() if shape.vocabulary)
"""Shapes that are workloads of sweeps by their own name: nothing is run, no method is needed."""


class Lengths(Config):
    """Tokens of a workload of text or of a shape."""

    tokens: int = Field(ge=1)
    """of the prompt, or of an encoder's input"""
    generate: int = Field(ge=0)
    """tokens after the prompt"""


class Compressed(Config):
    """A decoder compressed by numbers of bits, a pattern and a window, generating tokens.

    The default is AccLLM's scheme (arXiv 2505.03745) at 1,024 keys.
    """

    context: int = Field(1024, ge=2)
    """keys of the first generated token, its own included"""
    generate: int = Field(1, ge=1)
    """tokens generated one by one"""
    prefill: bool = False
    """true: the prompt, one token shorter than the context, is read first"""
    weight_bits: int = Field(2, ge=1, le=16)
    """bits of a weight"""
    activation_bits: int = Field(8, ge=1, le=16)
    """bits of an input of a product"""
    kv_bits: int = Field(4, ge=1, le=16)
    """bits of an element of K and V"""
    pattern: str = "2:4"
    """n:m, the weights kept of neighbouring inputs; empty: all"""
    sinks: int = Field(4, ge=0)
    """first tokens that every query sees"""
    recent: int = Field(2044, ge=0)
    """latest tokens that a query sees, its own included; 0: all tokens"""

    def trace(self, shape: str) -> Trace:
        """Return the synthetic trace of a shape.

        Raises:
            InputError: a pattern that is none.
        """
        return decoder_trace(
            SHAPES[shape],
            self.context - 1,
            self.generate,
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            kv_bits=self.kv_bits,
            pattern=self.pattern or None,
            sinks=self.sinks,
            recent=self.recent or None,
            prefill=self.prefill,
        )


def fields_of(workload: str) -> Config:
    """Return what can be varied of a workload, at its present values; it may be nothing.

    Raises:
        InputError: there is no such workload.
    """
    if workload in DECODERS:
        return Compressed()
    known = find(workload)
    if known.kind not in ("text", "shape"):
        return Config()
    return Lengths(tokens=known.tokens, generate=known.generate)


def find(workload: str) -> Workload:
    """Return a workload that methods run on.

    Raises:
        InputError: there is no such workload.
    """
    if workload not in WORKLOADS:
        known = {**WORKLOADS, **dict.fromkeys(DECODERS)}
        raise InputError(unknown_name("workload", workload, known))
    return WORKLOADS[workload]


def with_lengths(workload: Workload, lengths: Lengths) -> Workload:
    """Return a workload of other lengths."""
    return replace(workload, tokens=lengths.tokens, generate=lengths.generate)
