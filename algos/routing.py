"""Which experts the tokens of a mixture pass through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workloads.capture import find_blocks
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Routed = Callable[[int, "Tensor"], None]  # layer, (batch * token, experts a token) ids


@contextmanager
def watched_routers(model: Any, routed: Routed) -> Iterator[None]:
    """Tell `routed` of every routing until the context is left.

    Raises:
        InputError: a block has no router that says which experts it chose.
    """
    with ExitStack() as undo:
        for layer, block in enumerate(find_blocks(model)):
            routers = [m for m in block.modules() if type(m).__name__.endswith("TopKRouter")]
            if len(routers) != 1:
                raise InputError(f"block {layer} must have one router, it has {len(routers)}")
            undo.callback(routers[0].register_forward_hook(_teller(layer, routed)).remove)
        yield


def _teller(layer: int, routed: Routed) -> Any:
    def tell(_module: Any, _args: Any, output: tuple[Any, ...]) -> None:
        routed(layer, output[2])  # logits, weights, chosen experts

    return tell
