"""Run calibration samples through a model and keep what static methods ask for.

A sample is one call of the model with a batch of one, so that nothing is padded. What a loss is
depends on the task: the next token, a class, or the partner of a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from algos.linears import Slot
from workloads.capture import find_blocks
from workloads.errors import InputError
from workloads.models import mean_pool

if TYPE_CHECKING:
    from torch import Tensor

PAIR_SCALE = (
    20.0  # of cosines: default of the ranking loss with which sentence encoders are trained
)
IGNORED = -100  # a target that is none
Inputs = dict[str, tuple["Tensor", ...]]  # by matrix, (tokens, inputs) of each sample


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Samples, and what the model's outcome on them is worth."""

    samples: tuple[Mapping[str, Any], ...]  # arguments of a call of the model, batch of one
    read: Callable[[Any], Tensor]  # what the model returned -> (rows, width)
    loss: Callable[[Tensor, int], Tensor]  # (rows, width) and the sample's number -> scalar

    def of_tokens(self, most: int) -> Calibration:
        """Return the first samples, at least one, that hold at most so many tokens of text."""
        held, kept = 0, 0
        for sample in self.samples:
            text = sample.get("input_ids", sample.get("inputs_embeds"))
            held += 0 if text is None else text.shape[1]  # an image is none
            kept += held <= most
        return replace(self, samples=self.samples[: max(kept, 1)])


def next_token(tokens: Tensor) -> Calibration:
    """Return samples of a decoder, (samples, tokens) ids; the loss is the mean nats a token."""
    from torch.nn.functional import cross_entropy

    if tokens.ndim != 2 or tokens.shape[1] < 2 or not len(tokens):
        raise InputError(
            f"calibration must be samples of at least 2 tokens, not of shape {tuple(tokens.shape)}"
        )
    return Calibration(
        samples=tuple({"input_ids": sample[None], "use_cache": False} for sample in tokens),
        read=lambda output: output.logits[0],
        loss=lambda logits, number: cross_entropy(logits[:-1], tokens[number, 1:]),
    )


def labelled(inputs: Sequence[Mapping[str, Any]], labels: Sequence[int]) -> Calibration:
    """Return samples of a classifier: its arguments, batch of one, and the class of each."""
    import torch
    from torch.nn.functional import cross_entropy

    if not inputs or len(inputs) != len(labels):
        raise InputError(
            f"calibration must have a label for each sample, not {len(labels)} for {len(inputs)}"
        )
    return Calibration(
        samples=tuple(inputs),
        read=lambda output: output.logits,
        loss=lambda logits, number: cross_entropy(logits, torch.tensor([labels[number]])),
    )


def answers(inputs: Sequence[Mapping[str, Any]], targets: Sequence[Tensor]) -> Calibration:
    """Return samples of a decoder that answers: only some tokens are to be predicted.

    Args:
        inputs: arguments of a call, batch of one, such as `inputs_embeds` of images and words.
        targets: (tokens,) ids of each sample, IGNORED where nothing is to be predicted.

    Raises:
        InputError: not as many targets as samples, or a sample of which nothing is predicted.
    """
    from torch.nn.functional import cross_entropy

    if not inputs or len(inputs) != len(targets):
        raise InputError(
            f"calibration must have targets for each sample, not {len(targets)} for {len(inputs)}"
        )
    for number, target in enumerate(targets):
        if not bool((target[1:] != IGNORED).any()):
            raise InputError(f"calibration sample {number} must have a token to predict")
    return Calibration(
        samples=tuple(inputs),
        read=lambda output: output.logits[0],
        loss=lambda logits, number: cross_entropy(
            logits[:-1], targets[number][1:], ignore_index=IGNORED
        ),
    )


def sentence_pairs(model: Any, token_lists: Sequence[Sequence[int]]) -> Calibration:
    """Return samples of a sentence encoder: 2n sentences, those of one pair n places apart.

    The loss of a sentence is the cross entropy of finding its partner among the n sentences of
    the other half, as the dense model embeds them, by 20 times the cosine: the loss with which
    sentence encoders are trained (Henderson et al. 2017, arXiv:1705.00652).
    """
    import torch
    from torch.nn.functional import cross_entropy

    pairs = len(token_lists) // 2
    if pairs < 2 or len(token_lists) % 2:
        raise InputError(
            f"calibration must be at least 2 pairs of sentences, not {len(token_lists)} sentences"
        )
    samples = tuple({"input_ids": torch.tensor([list(tokens)])} for tokens in token_lists)
    with torch.no_grad():
        dense = torch.cat([mean_pool(model(**sample).last_hidden_state) for sample in samples])

    def loss(vector: Tensor, number: int) -> Tensor:
        others = dense[pairs:] if number < pairs else dense[:pairs]
        return cross_entropy(PAIR_SCALE * vector @ others.T, torch.tensor([number % pairs]))

    return Calibration(
        samples=samples, read=lambda output: mean_pool(output.last_hidden_state), loss=loss
    )


class Passes:
    """Hidden states of the calibration samples on their way through the blocks."""

    def __init__(self, model: Any, samples: Iterable[Mapping[str, Any]]) -> None:
        """Run the model once to learn the arguments of its blocks."""
        import torch

        self._blocks = find_blocks(model)
        self.hidden: list[Tensor] = []  # (1, tokens, hidden) a sample, entering the next block
        self._others: list[list[tuple[tuple[Any, ...], dict[str, Any]]]] = [
            [] for _ in self._blocks
        ]

        def before(layer: int) -> Any:
            def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                kwargs = dict(kwargs)
                hidden, rest = (args[0], args[1:]) if args else (kwargs.pop("hidden_states"), ())
                self._others[layer].append((rest, kwargs))
                if layer == 0:
                    self.hidden.append(hidden)

            return hook

        hooks = [
            block.register_forward_pre_hook(before(layer), with_kwargs=True)
            for layer, block in enumerate(self._blocks)
        ]
        try:
            with torch.no_grad():
                for sample in samples:
                    model(**sample)
        finally:
            for hook in hooks:
                hook.remove()

    def inputs(self, layer: int, slots: Mapping[str, Slot]) -> Inputs:
        """Return the inputs of a block's matrices."""
        with captured(slots) as found:
            self._run(layer)
        return flat(found)

    def advance(self, layer: int) -> None:
        """Let all samples pass a block."""
        self.hidden = self._run(layer)

    def _run(self, layer: int) -> list[Tensor]:
        import torch

        with torch.no_grad():
            return [
                first(self._blocks[layer](hidden, *rest, **kwargs))
                for hidden, (rest, kwargs) in zip(self.hidden, self._others[layer], strict=True)
            ]


def first(output: Any) -> Any:
    """Return what a block returned: some return a tuple that begins with the hidden states."""
    return output[0] if isinstance(output, tuple) else output


def rows_of(output: Any) -> Tensor:
    """Return the hidden states (tokens, hidden) of what entered or left a block."""
    hidden: Tensor = first(output)
    return hidden.flatten(0, -2)


@contextmanager
def passing(blocks: Sequence[Any]) -> Iterator[list[list[Any]]]:
    """Collect what enters the first block, and what each block returns: [layer + 1][sample]."""
    found: list[list[Any]] = [[] for _ in range(len(blocks) + 1)]

    def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found[0].append(args[0] if args else kwargs["hidden_states"])

    def after(place: int) -> Any:
        return lambda _module, _args, output: found[place].append(output)

    hooks = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    hooks += [block.register_forward_hook(after(i + 1)) for i, block in enumerate(blocks)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def captured_all(blocks: Sequence[Mapping[str, Slot]]) -> Iterator[list[dict[str, list[Tensor]]]]:
    """Collect what enters the matrices of several blocks, as `captured` does of one."""
    with ExitStack() as stack:
        yield [stack.enter_context(captured(slots)) for slots in blocks]


@contextmanager
def captured(slots: Mapping[str, Slot]) -> Iterator[dict[str, list[Tensor]]]:
    """Collect what enters the matrices of a block while it runs, (..., tokens, inputs)."""
    found: dict[str, list[Tensor]] = {name: [] for name in slots}
    modules: dict[Any, list[Slot]] = {}
    for slot in slots.values():
        modules.setdefault(slot.module, []).append(slot)

    def before(module: Any, args: tuple[Any, ...]) -> None:
        plain = [slot for slot in modules[module] if slot.expert < 0]
        experts = [slot for slot in modules[module] if slot.expert >= 0]
        for slot in plain:
            found[slot.name].append(args[0])  # as it is: gradients may be asked for it
        for slot in experts:
            found[slot.name].append(_expert_inputs(module, slot, *args[:2]))

    hooks = [module.register_forward_pre_hook(before) for module in modules]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _expert_inputs(module: Any, slot: Slot, hidden: Tensor, chosen: Tensor) -> Tensor:
    """Return what enters one matrix of an expert: of the tokens that are routed to it."""
    routed = hidden[(chosen == slot.expert).any(-1)]
    if slot.operator != "down":
        return routed
    gate, up = (routed @ module.gate_up_proj[slot.expert].T).chunk(2, -1)
    found: Tensor = module.act_fn(gate) * up
    return found


def flat(found: Mapping[str, Sequence[Tensor]]) -> Inputs:
    """Return captured inputs as (tokens, inputs); one that entered several matrices stays one."""
    known = {id(x): x.reshape(-1, x.shape[-1]) for samples in found.values() for x in samples}
    return {name: tuple(known[id(x)] for x in samples) for name, samples in found.items()}
