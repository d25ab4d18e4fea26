"""What the two sublayers of each block turn into what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workloads.capture import find_blocks
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_SUBLAYERS = {"attention": "self_attn", "feed_forward": "mlp"}  # of Llama, Qwen2, Mixtral


@contextmanager
def watched_modules(model: Any) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Keep input and output, (batch, token, hidden), of the sublayers of the block that ran last.

    Raises:
        InputError: the blocks have other sublayers.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    with ExitStack() as undo:
        for block in find_blocks(model):
            for name, attribute in _SUBLAYERS.items():
                module = getattr(block, attribute, None)
                if module is None:
                    raise InputError(
                        f"blocks must have a {attribute} to watch, {type(block).__name__} has none"
                    )
                hook = module.register_forward_hook(_keeper(seen, name), with_kwargs=True)
                undo.callback(hook.remove)
        yield seen


def _keeper(seen: dict[str, tuple[Tensor, Tensor]], name: str) -> Any:
    def keep(_module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        entered = args[0] if args else kwargs["hidden_states"]
        seen[name] = (entered, output[0] if isinstance(output, tuple) else output)

    return keep
