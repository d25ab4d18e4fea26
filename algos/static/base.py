"""What a static method is: it sees a model as named arrays once, and answers what is removed.

`plan` sees the whole dense model and decides what is global: ratios of layers, heads of all
layers. `prune_block` then answers for one block after another; where the method asks for it, the
inputs of a block's matrices have passed the pruned blocks before. No method touches the model:
`algos.static.apply` applies the answer. A sample is one calibration sequence; samples may differ
in length. All tensors are float32 unless said otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from algos.base import Method, Ratio
from workloads.shapes import ModelShape

if TYPE_CHECKING:
    from torch import Generator, Tensor

_T = TypeVar("_T")

Need = Literal[
    "inputs",  # of every matrix in the dense model
    "block_inputs",  # in `prune_block`: of every matrix, after the pruned blocks before
    "gradients",  # of the calibration loss by every matrix, summed over samples
    "sample_gradients",  # the same, one a sample
    "input_gradients",  # of the loss by the inputs of `output` and `down`, beside "inputs"
    "hidden",  # states that enter and leave each block of the dense model
]
PROBED_TOKENS = 2048  # of calibration text, enough for many probes of a model: an own choice
Pattern = Literal["dense", "unstructured", "n:m", "block", "structured"]


@dataclass(frozen=True, kw_only=True)
class PrunedWeight:
    """A matrix after pruning: what is not zero in it is kept."""

    weight: Tensor  # (outputs, inputs)
    pattern: Pattern = "unstructured"
    n: int = 0  # kept of every m neighbouring inputs, with pattern "n:m"
    m: int = 0
    block_rows: int = 0  # outputs of a block, with pattern "block"
    block_columns: int = 0  # inputs of a block
    core: Tensor | None = None  # what is stored if `weight` is its product with wrappers
    wrappers: tuple[int, int] = (0, 0)  # block sizes of block-diagonal matrices after and before

    @property
    def stored(self) -> Tensor:
        """Return (outputs, inputs), whose zeros hardware need not store."""
        return self.weight if self.core is None else self.core


@dataclass(frozen=True, kw_only=True)
class BlockPruning:
    """What is removed from one transformer block; by default nothing."""

    weights: Mapping[str, PrunedWeight] = field(default_factory=dict)  # by name of the matrix
    heads: Tensor | None = None  # (heads,) bool, query heads kept; a key head goes with its last
    kv_heads: Tensor | None = None  # (kv_heads,) int64: whose keys and values each one has; itself:
    # its own. Those who share must be given equal rows in `weights`
    neurons: Tensor | None = None  # (intermediate,) bool, neurons of the feed-forward layer kept
    biases: Mapping[str, Tensor] = field(default_factory=dict)  # (outputs,), added to the bias
    skip_attention: bool = False  # the sublayer adds nothing to the residual
    skip_ffn: bool = False
    experts: Tensor | None = None  # (experts,) int64: who stands for each; itself: kept; -1: none


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """The decision of a static method: one entry a block."""

    blocks: tuple[BlockPruning, ...]

    @classmethod
    def only(cls, layers: int, blocks: Mapping[int, BlockPruning]) -> Pruning:
        """Make a pruning of some of `layers` blocks."""
        return cls(blocks=tuple(blocks.get(i, BlockPruning()) for i in range(layers)))

    @classmethod
    def of_masks(cls, **masks: Tensor | None) -> Pruning:
        """Make a pruning of tensors whose first axis is the layer.

        Args:
            masks: `heads` (layers, heads), `neurons` (layers, intermediate), `skip_attention` and
                `skip_ffn` (layers,), `experts` (layers, experts); None: not pruned.
        """
        given = {name: mask for name, mask in masks.items() if mask is not None}
        layers = {len(mask) for mask in given.values()}
        if len(layers) != 1:
            raise ValueError(f"masks must have one number of layers, not {sorted(layers)}")
        blocks = []
        for layer in range(layers.pop()):
            rows: dict[str, Any] = {name: mask[layer] for name, mask in given.items()}
            skips = {name: bool(row) for name, row in rows.items() if name.startswith("skip")}
            blocks.append(BlockPruning(**(rows | skips)))
        return cls(blocks=tuple(blocks))


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """Gradients of the calibration loss by one matrix, over samples: (outputs, inputs) each."""

    total: Tensor
    total_abs: Tensor
    total_square: Tensor
    samples: tuple[Tensor, ...]  # empty unless asked for


@dataclass(frozen=True, kw_only=True)
class LinearView:
    """One matrix and what calibration says about it. What a method does not need is None."""

    layer: int
    operator: str  # query, key, value, output, up, gate, down or router
    expert: int = -1  # -1: in no mixture
    weight: Tensor  # (outputs, inputs)
    bias: Tensor | None = None  # (outputs,)
    inputs: tuple[Tensor, ...] | None = None  # (tokens, inputs) a sample; of an expert, its own
    gradients: Gradients | None = None
    input_gradients: tuple[Tensor, ...] | None = None  # (tokens, inputs) a sample

    @property
    def name(self) -> str:
        """Return what tells it from the block's other matrices: "up", or "up.3" of expert 3."""
        return self.operator if self.expert < 0 else f"{self.operator}.{self.expert}"

    @property
    def where(self) -> str:
        """Return the place for messages."""
        return f"layer {self.layer} {self.name}"

    @property
    def samples(self) -> tuple[Tensor, ...]:
        """Return the inputs (tokens, inputs) of each sample."""
        return _declared(self.inputs, '"inputs" or "block_inputs"')

    @cached_property
    def input_squares(self) -> Tensor:
        """Return (inputs,): the mean over samples of the sum over tokens of squares (Wanda)."""
        return sum_of(x.square().sum(0) for x in self.samples) / len(self.samples)

    @cached_property
    def hessian(self) -> Tensor:
        """Return (inputs, inputs): 2 / samples * the sum of X^T X (SparseGPT)."""
        return sum_of(x.T @ x for x in self.samples) * (2 / len(self.samples))

    @cached_property
    def input_mean(self) -> Tensor:
        """Return (inputs,): the mean over all tokens."""
        return sum_of(x.sum(0) for x in self.samples) / max(self._tokens, 1)

    @cached_property
    def input_variance(self) -> Tensor:
        """Return (inputs,): the variance over all tokens, with one degree of freedom less."""
        spread = sum_of((x - self.input_mean).square().sum(0) for x in self.samples)
        return spread / max(self._tokens - 1, 1)

    @property
    def gradient_sum(self) -> Tensor:
        """Return (outputs, inputs): the sum over samples of the gradient."""
        return _declared(self.gradients, '"gradients"').total

    @property
    def gradient_abs_sum(self) -> Tensor:
        """Return (outputs, inputs): the sum over samples of the gradient's absolute value."""
        return _declared(self.gradients, '"gradients"').total_abs

    @property
    def gradient_square_sum(self) -> Tensor:
        """Return (outputs, inputs): the sum over samples of the gradient's square."""
        return _declared(self.gradients, '"gradients"').total_square

    @property
    def gradient_samples(self) -> tuple[Tensor, ...]:
        """Return the gradient (outputs, inputs) of each sample."""
        return _declared(self.gradients, '"sample_gradients"').samples

    @property
    def _tokens(self) -> int:
        return sum(len(x) for x in self.samples)


@dataclass(frozen=True, kw_only=True)
class BlockView:
    """One transformer block."""

    layer: int
    shape: ModelShape
    experts: int  # 0: no mixture
    linears: Mapping[str, LinearView]  # by name
    entered: tuple[Tensor, ...] = ()  # (tokens, hidden) a sample, if "hidden" is needed
    left: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a pruned model does on the calibration samples."""

    losses: tuple[float, ...]  # one a sample
    outputs: tuple[Tensor, ...]  # (tokens, vocabulary) or (1, classes) logits, (1, hidden) vector
    hidden: tuple[tuple[Tensor, ...], ...]  # [layer][sample] (tokens, hidden), leaving each block

    @property
    def loss(self) -> float:
        """Return the mean over samples."""
        return sum(self.losses) / len(self.losses)


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """The dense model: all its blocks, and what would happen if something was pruned."""

    shape: ModelShape
    blocks: tuple[BlockView, ...]
    samples: int  # of calibration
    generator: Generator  # for methods that draw numbers
    probe: Callable[[Pruning], Outcome]  # runs the calibration on the model with this pruned

    @cached_property
    def dense(self) -> Outcome:
        """Return the outcome of the model as it is."""
        return self.probe(Pruning.only(len(self.blocks), {}))

    @property
    def linears(self) -> tuple[LinearView, ...]:
        """Return the matrices of all blocks, in order."""
        return tuple(view for block in self.blocks for view in block.linears.values())


class StaticMethod(Method):
    """A method that decides once what a model loses; the model then runs without it."""

    needs: ClassVar[frozenset[Need]] = frozenset()  # what the views hold
    calibration_tokens: ClassVar[int | None] = None  # of text that it reads, at most; None: all

    keep_ratio: Ratio = 0.5
    """Share that is kept of what the method prunes."""

    def plan(self, model: ModelView) -> Any:
        """Decide what is global, seeing the dense model; `prune_block` gets the answer."""
        return None

    @abstractmethod
    def prune_block(self, block: BlockView, plan: Any) -> BlockPruning:
        """Decide what one block loses. Blocks are asked in order."""


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """Return the sum of one or more tensors."""
    rest = iter(terms)
    found = next(rest)
    for term in rest:
        found = found + term
    return found


def _declared(value: _T | None, need: str) -> _T:
    if value is None:
        raise ValueError(f"the method must declare {need} in `needs` to read this")
    return value
