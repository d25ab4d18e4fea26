"""SpAtten-e2e: the paper's machine that also runs the projections and feed-forward layers."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from sim.dram.model import Dram
from sim.machines.base import Foreseen
from sim.machines.plan import regions_end
from sim.machines.spatten import SpAtten
from sim.machines.spatten_fc import FcConfig, ProductEngine, cut
from sim.operations import Operations
from sim.products import lower_products
from workloads.trace import Trace


class SpAttenE2e(SpAtten):
    """SpAtten with fully connected layers on the same multipliers (HPCA 2021, evaluation)."""

    name: ClassVar[str] = "spatten-e2e"
    description: ClassVar[str] = (
        "SpAtten-e2e (HPCA 2021): SpAtten that also runs projections and feed-forward layers, "
        "8- or 12-bit weights from DRAM"
    )

    fc: FcConfig = FcConfig()
    """fully connected layers"""

    @model_validator(mode="after")
    def _layers_are_in_order(self) -> SpAttenE2e:
        if not self.flow.layers_wait:
            raise ValueError("SpAttenE2e flow.layers_wait must be true: FC layers lie between")
        return self

    @property
    def _scope(self) -> tuple[str, ...]:
        return (
            "Projections and feed-forward layers run on both arrays, between the attention of two "
            "layers: the paper gives no dataflow. Residuals, normalisation, activation functions "
            "and the vocabulary's output layer cost nothing.",
            "Activations are read from DRAM at the on-chip width once for each product; results "
            "leave through a port and are not counted. Weights are read once for each tile of "
            "tokens that fits an SRAM, and run ahead as far as the data FIFOs hold.",
            "Weights count as dense whatever their pattern; the sparsity table is of attention.",
        )

    def foresee_heads(self, trace: Trace, operations: Operations) -> Foreseen:
        heads = super().foresee_heads(trace, operations)
        products = lower_products(trace, operations, self.exploits)
        tiles = cut(self, self.fc, products)
        transactions = tiles.count * tiles.weight_transactions + tiles.input_transactions
        return Foreseen(
            busy_cycles=heads.busy_cycles + int(tiles.busy_cycles.sum()),
            transactions=heads.transactions + int(transactions.sum()),
            multiplications=heads.multiplications + int(products.multiplications.sum()),
        )

    def product_engine(self, trace: Trace, operations: Operations, dram: Dram) -> ProductEngine:
        """Return what runs the trace's products."""
        base = regions_end(trace, operations, self.fetch, self.dram.transaction_bytes)
        products = lower_products(trace, operations, self.exploits)
        return ProductEngine(self, self.fc, products, dram, base)
