"""Lower a trace to kernels of a GPU: what it would launch, dense, or exploiting the sparsity.

Nothing is timed here and no device is known. An operation has one way or several; whoever times
them takes the fastest. A kernel that the method needs and that there is not leaves its operation
without a way, or, where a kernel exists that exploits less, is told in a note: nothing is replaced
in silence.

Left out on both sides: the embedding, sampling, and what a framework adds between kernels. Norms,
rotations, the writing of K and V and activation functions are elementwise launches, as vLLM fuses
them; the attention of a trace without linear layers stands alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algos.kernels import KERNELS

if TYPE_CHECKING:
    import pandas as pd

    from workloads.trace import Trace

LIBRARY, STREAM = "cublas-fp16", "stream"
"""Names of `sim.gpu.libraries`: dense products; elementwise launches by bytes read and written."""
NEEDS_TOPK = ("token", "head", "key")
"""Kinds of selections that are launches of their own; those of values are within local-v-decode."""
IMPORTANCE = "add importance"
SCORE_BYTES = 4
HALF_BYTES = 2


@dataclass(frozen=True)
class Call:
    """One kernel at one shape."""

    kernel: str
    """name of `algos.kernels.KERNELS`, or `LIBRARY` or `STREAM`"""
    shape: tuple[tuple[str, Any], ...]

    @property
    def is_library(self) -> bool:
        """Whether it is no kernel of the registry."""
        return self.kernel in (LIBRARY, STREAM)

    @property
    def numbers(self) -> dict[str, Any]:
        """Fields of the shape."""
        return dict(self.shape)


@dataclass(frozen=True)
class Operation:
    """What a layer does, and which kernels do it."""

    name: str
    ways: tuple[Call, ...]
    """each does all of it; none: the kernel that it needs is missing"""

    @property
    def selects(self) -> bool:
        """Whether it computes nothing but what is to be kept."""
        return self.name.startswith("select") or self.name == IMPORTANCE


@dataclass(frozen=True)
class Chain:
    """Everything that a trace launches, one after another."""

    operations: Mapping[Operation, int]
    """how often each one runs"""
    missing: tuple[str, ...]
    """a sentence for each operation without a way"""
    notes: tuple[str, ...]
    """a sentence for what is offered by the trace and not exploited, and why"""

    @property
    def calls(self) -> Iterator[Call]:
        """Every way of every operation."""
        return (way for operation in self.operations for way in operation.ways)


@dataclass(frozen=True, kw_only=True)
class Heads:
    """The attention of one layer of one step; heads that differ count as the largest of them."""

    queries: int
    keys: int
    values: int
    heads: int
    kv_heads: int
    all_heads: int
    """without pruning, as the next one"""
    all_kv_heads: int
    dim: int
    k_bits: int
    lsb_bits: int
    v_bits: int
    recomputed: int
    """heads that fetch LSBs"""
    sinks: int
    recent: int
    """0: no window"""
    context: int
    """keys without pruning"""


def lower(trace: Trace, *, sparse: bool, kernels: Collection[str] = KERNELS) -> Chain:
    """Return what a trace launches.

    Args:
        trace: of one model; all of its sequences and steps run one after another.
        sparse: whether what the trace leaves out is left out; else all of it runs, half precision.
        kernels: names that there are.
    """
    found = _Lowering(trace, sparse, kernels)
    found.attention()
    found.products()
    return Chain(dict(found.operations), tuple(found.missing), tuple(found.notes))


class _Lowering:
    """Collects operations; sentences are told once, in the order in which they come up."""

    def __init__(self, trace: Trace, sparse: bool, kernels: Collection[str]) -> None:
        self._trace, self._sparse, self._kernels = trace, sparse, kernels
        self._causal = bool((trace.array("sequences", "generated_tokens") > 0).any())
        topk = trace.tables["topk"].drop_columns(["scores"]).to_pandas()
        self._topk = topk[topk["kind"].isin(NEEDS_TOPK)]
        self.operations: Counter[Operation] = Counter()
        self.missing: dict[str, None] = {}
        self.notes: dict[str, None] = {}

    def attention(self) -> None:
        for _, rows in _attention(self._trace).groupby(["sequence", "step", "layer"], sort=False):
            if self._sparse:
                self._sparse_attention(rows)
            else:
                self._add("attention", *self._dense(heads_of(rows, dense=True)))
        if self._sparse:
            for row in self._topk.itertuples():
                size = {"rows": int(row.operations), "keys": int(row.n), "k": int(row.k)}
                self._needed(f"select {row.kind}s", "topk-select", size)

    def products(self) -> None:
        """Add linear layers, and the elementwise launches between them."""
        table = self._trace.tables["matmul"].to_pandas()
        for row in table.itertuples():
            if self._sparse and row.skipped:
                continue
            self._add("linear layers", *self._product(row))
        layers = table[table["operator"] != "head"]
        if len(layers):
            self._elementwise(layers)

    def _sparse_attention(self, rows: pd.DataFrame) -> None:
        heads = heads_of(rows, dense=False)
        if not heads.heads:
            return
        if heads.queries > 1:
            self._sparse_prefill(heads)
        else:
            self._add("attention", *self._decode_ways(heads))
        if len(self._topk):
            # scores of a token are in L2 still; importance of a prompt comes from its kernel
            read = heads.keys * (heads.heads if heads.queries == 1 else 1)
            self._stream(IMPORTANCE, SCORE_BYTES * (read + heads.keys),
                         SCORE_BYTES * heads.keys)  # fmt: skip

    def _sparse_prefill(self, heads: Heads) -> None:
        if not len(self._topk):
            self._add("attention", *self._dense(heads))
            return
        size = {
            **{"heads": heads.all_heads, "kv_heads": heads.all_kv_heads, "dim": heads.dim},
            **{"tokens": heads.context, "kept": heads.keys, "kept_heads": heads.heads},
            "causal": self._causal,
        }
        self._needed("attention", "cascade-prefill", size)
        if heads.k_bits < 16 or heads.v_bits < 16:
            self._note("quantised K and V of a prompt are read in half precision: no kernel "
                       "exploits them")  # fmt: skip

    def _dense(self, heads: Heads) -> Iterator[Call]:
        size = {"heads": heads.heads, "kv_heads": heads.kv_heads, "dim": heads.dim}
        if heads.queries == 1:
            yield _call("dense-decode", size | {"keys": heads.keys})
        else:
            of_prompt = {"queries": heads.queries, "keys": heads.keys, "causal": self._causal}
            yield _call("dense-prefill", size | of_prompt)

    def _decode_ways(self, heads: Heads) -> Iterator[Call]:
        """Yield the kernels that attend to the kept keys of the kept heads, the exact one first.

        The cache is taken to hold the kept rows side by side, as a cache that evicts does.
        """
        yield from self._dense(heads)
        size = {"heads": heads.heads, "kv_heads": heads.kv_heads, "dim": heads.dim}
        if heads.values < heads.keys and self._has("local-v-decode", "all V rows are read"):
            share = heads.values / heads.keys
            yield _call("local-v-decode", size | {"keys": heads.keys, "share": share})
        if heads.recent and heads.k_bits <= 4 and heads.v_bits <= 4:
            if self._has("lambda-kv4-decode", "4-bit K and V are read in half precision"):
                yield _call("lambda-kv4-decode", _window(size, heads))
        elif (
            heads.k_bits + heads.lsb_bits <= 12
            and heads.v_bits <= 8
            and self._has("progressive-decode", "quantised K and V are read in half precision")
        ):
            yield _call("progressive-decode", _progressive(size, heads))

    def _product(self, row: Any) -> Iterator[Call]:
        if not self._sparse:
            yield _call(LIBRARY, {"m": row.m_dense, "n": row.n_dense, "k": row.k_dense})
            return
        few = row.m <= 8
        size = {"tokens": int(row.m), "rows": int(row.n), "inputs": int(row.k)}
        if (row.weight_bits, row.pattern_n, row.pattern_m) == (2, 2, 4):
            name = "w2a8-gemv" if few else "w2a8-gemm"
            if name in self._kernels:
                yield _call(name, size)
            else:
                self._miss("linear layers", name)
            return
        if row.pattern != "dense":
            self._note(f"{row.pattern} weights of {row.operator} run dense: no kernel exploits "
                       "them")  # fmt: skip
        if row.weight_bits < 16:
            self._note(f"{row.weight_bits}-bit weights of {row.operator} are read in half "
                       "precision: no kernel exploits them")  # fmt: skip
        yield _call(LIBRARY, {"m": row.m, "n": row.n, "k": row.k})

    def _elementwise(self, layers: pd.DataFrame) -> None:
        """Add two norms, rotation with the writing of K and V, and the activation of each layer.

        W2A8 layers read bytes in place of half precision, which the kernel before them writes; the
        mix of heads is quantised by a launch of its own.
        """
        suffix = "" if self._sparse else "_dense"
        for _, rows in layers.groupby(["sequence", "step", "layer"], sort=False):
            at = rows.set_index("operator")
            m, wide = f"m{suffix}", f"n{suffix}"
            tokens, hidden = int(at.at["up", m]), int(at.at["up", f"k{suffix}"])
            qkv = sum(int(at.at[name, wide]) for name in ("query", "key", "value"))
            inner = int(at.at["up", wide])
            quantised = self._sparse and int(at.at["up", "activation_bits"]) <= 8
            written = 1 if quantised else HALF_BYTES
            for _ in range(2):
                row = tokens * hidden  # read with what is added to it; the sum and its norm written
                self._stream("norms", 2 * HALF_BYTES * row, (HALF_BYTES + written) * row)
            self._stream("rotation, K and V", HALF_BYTES * tokens * qkv, HALF_BYTES * tokens * qkv)
            read = HALF_BYTES * tokens * inner * (2 if "gate" in at.index else 1)
            self._stream("activation", read, written * tokens * inner)
            if quantised:
                mixed = tokens * int(at.at["output", f"k{suffix}"])
                self._stream("quantise", HALF_BYTES * mixed, mixed)

    def _stream(self, name: str, read: int, written: int) -> None:
        self._add(name, _call(STREAM, {"read_bytes": read, "written_bytes": written}))

    def _needed(self, name: str, kernel: str, size: dict[str, Any]) -> None:
        if kernel in self._kernels:
            self._add(name, _call(kernel, size))
        else:
            self._miss(name, kernel)

    def _has(self, kernel: str, instead: str) -> bool:
        if kernel not in self._kernels:
            self._note(f"{instead}: there is no kernel {kernel}")
        return kernel in self._kernels

    def _miss(self, name: str, kernel: str) -> None:
        self.missing.setdefault(f"{name}: there is no kernel {kernel}")
        self._add(name)

    def _add(self, name: str, *ways: Call) -> None:
        self.operations[Operation(name, ways)] += 1

    def _note(self, sentence: str) -> None:
        self.notes.setdefault(sentence)


def heads_of(rows: pd.DataFrame, *, dense: bool) -> Heads:
    """Return the attention of a layer from the rows of its heads."""
    alive = rows if dense else rows[rows["alive"]]

    def most(name: str) -> int:
        return int(alive[name].max()) if len(alive) else 0

    return Heads(
        queries=most("queries_dense" if dense else "queries"),
        keys=most("keys_dense" if dense else "keys"),
        values=most("keys_dense" if dense else "values"),
        heads=len(alive),
        kv_heads=int(alive["kv_head"].nunique()),
        all_heads=len(rows),
        all_kv_heads=int(rows["kv_head"].nunique()),
        dim=int(rows["head_dim"].max()),
        k_bits=16 if dense else most("k_bits"),
        lsb_bits=0 if dense else most("k_lsb_bits"),
        v_bits=16 if dense else most("v_bits") + most("v_lsb_bits"),
        recomputed=0 if dense else int((alive["recomputed"] > 0).sum()),
        sinks=0 if dense else most("sink_tokens"),
        recent=0 if dense else most("recent_tokens"),
        context=int(rows["keys_dense"].max()),
    )


def _attention(trace: Trace) -> pd.DataFrame:
    """Return the rows of attention without identities, which no launch depends on."""
    table = trace.tables["attention"]
    lists = [field.name for field in table.schema if str(field.type).startswith("list")]
    return table.drop_columns(lists).to_pandas()


def _progressive(size: dict[str, Any], heads: Heads) -> dict[str, Any]:
    """Return the shape of a decode by planes: 4 or 8 bits first, 4 more for some heads.

    Bits in one plane that do not fit 8 are fetched by every head.
    """
    msb = 4 if heads.k_bits <= 4 else 8
    share = heads.recomputed / heads.heads if heads.lsb_bits else float(heads.k_bits > msb)
    return size | {"keys": heads.keys, "msb_bits": msb, "share": share}


def _window(size: dict[str, Any], heads: Heads) -> dict[str, Any]:
    """Return the shape of a decode over a window: `keys` are all tokens so far."""
    return size | {"keys": heads.context, "sinks": heads.sinks, "window": heads.recent}


def _call(kernel: str, shape: Mapping[str, Any]) -> Call:
    plain = {name: value.item() if hasattr(value, "item") else value
             for name, value in shape.items()}  # fmt: skip
    return Call(kernel, tuple(plain.items()))
