"""SpAtten at the paper's configuration: attention with cascade pruning, on 1,024 multipliers.

Wang, Zhang, Han: SpAtten, HPCA 2021, arXiv:2012.09852. Sizes from its table of the setup; where
the paper is silent, latencies come from the authors' C++ model and released RTL, named at each
field. The paper's order of work is kept: head by head, query by query.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from sim.blocks.dotprod import ProbValueConfig, QueryKeyConfig
from sim.blocks.requant import RequantConfig
from sim.blocks.topk import TopKConfig
from sim.dram.model import Dram
from sim.energy.hardware import Hardware
from sim.machines.base import COMMON_FIDELITY, Machine, Record
from sim.machines.differences import departures
from sim.machines.pipeline import Buffers, Flow, Pipeline
from sim.machines.plan import make_plan, plane_traffic
from sim.machines.selections import (
    Scope,
    Selections,
    cascade_cycles,
    cascade_selections,
    value_selections,
)
from sim.machines.spatten_engine import SpAttenEngine
from sim.machines.spatten_fc import ProductEngine
from sim.machines.spatten_options import FlowConfig, PrecisionConfig, adapt
from sim.machines.timeline import timeline_columns
from sim.operations import VALUE_GENERATION, VALUE_PREFILL, Operations, of_each_head
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]


_CASCADE = {
    "parallel": "Token selections run beside the end of their layer, head selections after it.",
    "serial": "Cascade selections follow the last output; the paper runs them in parallel.",
    "hidden": "Cascade selections cost no time.",
}


class SpAtten(Machine):
    """The paper's machine. `sim.machines.differences` lists what its sources disagree on."""

    name: ClassVar[str] = "spatten"
    description: ClassVar[str] = (
        "SpAtten (HPCA 2021): 2 x 512 multipliers, quick-select top-k, MSB/LSB fetch, 16 x HBM2"
    )

    query_key: QueryKeyConfig = QueryKeyConfig()
    """Q.K array"""
    requant: RequantConfig = RequantConfig()
    """progressive-quantisation decision"""
    value_topk: TopKConfig = TopKConfig()
    """engine of local value pruning"""
    cascade_topk: TopKConfig = TopKConfig()
    """engine of token pruning, used again for head pruning"""
    prob_value: ProbValueConfig = ProbValueConfig()
    """Prob.V array"""
    topk_seed: int = Field(0, ge=0)
    """seed of the ranks drawn where a trace has no recorded scores"""
    flow: FlowConfig = FlowConfig()
    """what waits for what"""
    precision: PrecisionConfig = PrecisionConfig()
    """operands of several precisions"""

    prefill_value_pruning: bool = False
    """true: every query of a prefill selects its V rows, one after another on one engine;
    false: only generation steps do. The paper does not say; with the first, a 384-token
    BERT-Base runs at a third of the throughput that the paper reports for BERT"""
    value_selection: Scope = "query"
    """who selects V rows: every query (paper), the first of a head (released RTL, where queries
    share a fetch), or the first of two consecutive heads (released RTL, for 6-bit pairs)"""
    prune_queries: bool = True
    """true: pruned tokens ask no queries (paper); false: all tokens do (authors' C++ model)"""

    @property
    def exploits(self) -> frozenset[str]:
        always = {"head", "token", VALUE_GENERATION, "precision"}
        return frozenset(always | ({VALUE_PREFILL} if self.prefill_value_pruning else set()))

    @property
    def multipliers(self) -> int:
        return self.query_key.multipliers + self.prob_value.multipliers

    @property
    def hardware(self) -> Hardware:
        return self.make_hardware(
            self.query_key.multipliers,
            self.prob_value.multipliers,
            self.requant.fifo_rows,
            (self.cascade_topk, self.value_topk),
        )

    @property
    def ideal(self) -> tuple[str, ...]:
        return (*super().ideal, "IdealQueryFifo")

    @property
    def fidelity(self) -> tuple[str, ...]:
        return (
            *self._scope,
            "Heads of a layer run one after another, queries one after another; the next layer "
            "of an input opens when the last head's output and the cascade selections are done. "
            + _CASCADE[self.flow.cascade_topk],
            *departures(self),
            "Row storage between Q.K and top-k is the softmax FIFO plus the decision FIFO, whose "
            "depth is the released RTL's; a row is issued only if both have room for it.",
            "Top-k follows algorithm 2 with a 16-bit LFSR for the pivots; in 4,000 random trials "
            "the authors' latency model takes 258.3 cycles for 512 of 1,024, ours 259.1.",
            "The K and V buffers hold two heads of the longest context, as in the paper; shorter "
            "heads share them, up to 16 at a time, as in the released RTL.",
            "Recomputed queries go before new ones, also those of the next heads, which pass "
            "meanwhile as in the released RTL; results leave in query order.",
            "In generation K without an LSB plane and V cost no SRAM accesses unless "
            "flow.generation_sram is set; how far they are fetched ahead is still counted in rows "
            "of the buffers, of which the FIFOs before the converter hold 341 of 12 bits.",
            "K, V and Q come from DRAM; attention outputs leave through a port (released RTL) "
            "and are not counted. IdealQueryFifo: queries wait without a capacity limit.",
            self._value_fidelity,
            "With more than one query, V is fetched once: all rows that any query keeps. Only in "
            "generation is it fetched after the selection, row by row.",
            "A width that the bit-width converter lacks is stored in the next larger one; the "
            "paper's converter has 4, 8 and 12 bits.",
            "Query heads that share a K/V head fetch it each for itself: the paper has no "
            "grouped-query attention.",
            *COMMON_FIDELITY,
        )

    @property
    def _scope(self) -> tuple[str, ...]:
        return (
            "Attention only, as in the paper's main machine: projections and feed-forward layers "
            "run elsewhere and cost nothing here.",
        )

    @property
    def _value_fidelity(self) -> str:
        if self.prefill_value_pruning:
            return "Local value pruning acts in every query of a prefill too, one after another."
        return (
            "Local value pruning acts in generation only (prefill_value_pruning = false): V is on "
            "chip for all queries of a prefill, so a selection for each would save no fetch, and "
            "one engine cannot keep up. The trace offers it; it is not exploited."
        )

    def adapt(self, operations: Operations) -> Operations:
        return adapt(operations, self.precision, self.prune_queries, self.width_bits)

    def busy_cycles(self, operations: Operations) -> dict[str, IntArray]:
        ops = operations
        runs = ops.queries + ops.recomputed
        per_score = of_each_head(ops.head_dim, self.query_key.scores_per_cycle)
        per_row = of_each_head(ops.head_dim, self.prob_value.rows_per_cycle)
        return {
            "Q.K": runs * -(-ops.keys // per_score),
            "softmax": runs * -(-ops.keys // self.softmax.lanes),
            "Prob.V": ops.queries * -(-ops.values // per_row),
        }

    def run(self, trace: Trace, operations: Operations, timeline_heads: int) -> Record:
        self._check(operations)
        dram = Dram(self.dram)
        plan = make_plan(trace, operations, self.fetch, self.dram.transaction_bytes)
        local = value_selections(
            trace, operations, self.value_topk, self.topk_seed, self.value_selection
        )
        cascade = cascade_selections(trace, operations, self.cascade_topk, self.topk_seed + 1)
        groups = int(operations.group[-1]) + 1
        tokens, heads = cascade_cycles(cascade, self.cascade_topk, groups)
        waits, flow = self._order(tokens, heads)
        late = operations.step > 0
        products = self.product_engine(trace, operations, dram)
        if products is not None:
            flow = replace(flow, between=products.between)
        engine = SpAttenEngine(self, trace, operations, plan, local, late)
        schedule = Pipeline(
            operations,
            plan,
            dram,
            engine,
            Buffers(self.key_buffer, self.value_buffer, self.fetch.request_latency_cycles),
            late,
            waits,
            timeline_heads,
            flow,
        ).run()
        dram.finish(schedule.cycles)
        useful, transactions = plane_traffic(operations, plan)
        cascade_busy = 0 if self.flow.cascade_topk == "hidden" else int((tokens + heads).sum())
        unit_cycles = engine.unit_cycles(schedule.cycles)
        unit_cycles["cascade top-k"] = {
            "busy": cascade_busy,
            "idle": schedule.cycles - cascade_busy,
        }
        record = Record(
            schedule=schedule,
            unit_cycles=unit_cycles,
            counts=self._counts(operations, local, cascade),
            useful_bytes=useful,
            transactions=transactions,
            multiplications=self.multiplications(operations),
            dram=dram,
            topk_data=_data(local, cascade),
            timeline=timeline_columns(
                operations, schedule, engine.spans(timeline_heads), timeline_heads
            ),
        )
        return record if products is None else products.add_to(record, operations, timeline_heads)

    def product_engine(
        self, trace: Trace, operations: Operations, dram: Dram
    ) -> ProductEngine | None:
        """Return what runs matrix products with weights between layers; None: nothing does."""
        return None

    def _order(self, tokens: IntArray, heads: IntArray) -> tuple[IntArray, Flow]:
        """Return the cycles from a layer's last output to its decision, and what else waits."""
        beside = np.zeros_like(tokens)
        after = tokens + heads
        if self.flow.cascade_topk == "parallel":
            beside, after = tokens, heads
        elif self.flow.cascade_topk == "hidden":
            after = beside
        flow = Flow(
            prefetch_keys=self.flow.prefetch_keys,
            layers_wait=self.flow.layers_wait,
            token_cycles=beside,
            first_cycle=self.flow.reset_cycles,
        )
        return after, flow

    def _check(self, operations: Operations) -> None:
        for dim in np.unique(operations.head_dim).tolist():
            self.query_key.scores_per_cycle(dim)
            self.prob_value.rows_per_cycle(dim)
        self.check_buffers(operations)

    def _counts(
        self,
        operations: Operations,
        local: Selections,
        cascade: Selections,
    ) -> dict[str, IntArray]:
        """Count the events that cost energy, by operation."""
        ops = operations
        runs = ops.queries + ops.recomputed
        scores = runs * ops.keys
        weighted = ops.queries * ops.values
        busy = self.busy_cycles(ops)
        line_bits = self.query_key.multipliers * self.query_key.width_bits
        rows_per_line = self.query_key.multipliers // np.maximum(
            1, 1 << np.ceil(np.log2(ops.head_dim)).astype(np.int64)
        )
        refetched = np.where(ops.recomputed > 0, ops.keys, 0)
        stored_values = (ops.step == 0) | self.flow.generation_sram
        stored_keys = stored_values | (ops.k_lsb_bits > 0)
        groups = int(ops.group[-1]) + 1
        of_group = np.searchsorted(ops.group, np.arange(groups))
        streamed = local.streamed(len(ops))
        streamed[of_group] += cascade.streamed(groups)
        return {
            "multiply": (scores + weighted) * ops.head_dim,
            "add": (scores + weighted) * ops.head_dim,
            "key_sram_write_bit": stored_keys * ops.keys * ops.head_dim * self.width_bits
            + refetched * ops.head_dim * ops.k_lsb_bits,
            "key_sram_read_bit": stored_keys * runs * -(-ops.keys // rows_per_line) * line_bits,
            "value_sram_write_bit": stored_values
            * ops.values_fetched
            * ops.head_dim
            * self.width_bits,
            "value_sram_read_bit": stored_values
            * busy["Prob.V"]
            * self.prob_value.multipliers
            * self.prob_value.width_bits,
            "dequantise": scores,
            "exponential": scores,
            "softmax_add": scores,
            "division": scores,
            "quantise": scores,
            "requant_compare": scores,
            "topk_compare": 2 * streamed,
            "topk_shift": 2 * streamed * self.value_topk.eliminator_layers,
            "topk_fifo_bit": 2 * streamed * self.value_topk.width_bits,
            "softmax_fifo_bit": scores * self.width_bits,
            "decision_fifo_bit": scores * self.width_bits,
            "importance_add": ops.queries * (ops.keys + ops.head_dim),
        }


def _data(local: Selections, cascade: Selections) -> str:
    """Say what the selectors saw: drawn if any was, else recorded if any, else none."""
    kinds = {local.data, cascade.data}
    return next(kind for kind in ("drawn", "recorded", "none") if kind in kinds)
