"""Run a decoder in low precision: 8-bit inputs of its linear layers, integer attention, Λ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from algos.attention.low_bit import LowBitAttention, rotary_frequencies
from algos.attention.sink_window import SinkWindow
from algos.linears import block_linears
from algos.quant.activations import at_8_bits
from workloads.capture import attached
from workloads.models import LoadedModel


@contextmanager
def low_bit(
    loaded: LoadedModel,
    *,
    activations: bool = True,
    attention: bool = True,
    window: SinkWindow | None = None,
) -> Iterator[None]:
    """Change a decoder's forward pass until the context is left; its weights stay.

    Args:
        loaded: the decoder, with whatever weights.
        activations: round the inputs of the blocks' linear layers to 8 bits a token (A8).
        attention: 8-bit Q and probabilities, 4-bit K and V (KV4).
        window: which tokens stay in the cache; None: all.

    Raises:
        InputError: the architecture is unknown, or a window needs rotations that cannot be
            capped; while running: a layer's numbers do not fit.
    """
    with ExitStack() as undo:
        if activations:
            for linears in block_linears(loaded.model):
                for name, linear in linears.items():
                    undo.callback(linear.register_forward_pre_hook(_rounding(name)).remove)
        if attention or window is not None:
            frequencies = None if window is None else rotary_frequencies(loaded)
            handler = LowBitAttention(
                integer=attention, window=window, inverse_frequencies=frequencies
            )
            undo.enter_context(attached(loaded.model, handler))
        yield


def _rounding(layer: str) -> Any:
    def round_input(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (at_8_bits(args[0], layer), *args[1:])

    return round_input
