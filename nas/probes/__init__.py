"""Layer 3: what probes are made of: pure functions on a network and data, for shipped probes and for anybody's own.

    from nas.probes import without, outputs_of, stages_of

They change nothing of the network that they are given, or put it back.
"""

from nas.probes.batch_norm import recompute_batch_norm
from nas.probes.units import delete_units, outputs_of, same_shape_units, stages_of, units_of, weight_layers, without

__all__ = [
    "delete_units", "outputs_of", "recompute_batch_norm", "same_shape_units", "stages_of", "units_of", "weight_layers", "without",
]  # fmt: skip
