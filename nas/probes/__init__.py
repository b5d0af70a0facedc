"""Layer 3: what probes are made of: pure functions on a network and data, for shipped probes and for anybody's own.

    from nas.probes import outputs_of, units_of, without

They change nothing of the network that they are given, or put it back; those that change a copy for good say so.
"""

from nas.probes.batch_norm import recompute_batch_norm, recomputed_batch_norm
from nas.probes.paths import effective_lengths, gradient_by_length, length_distribution, mean_length, sampled_norms, way_back
from nas.probes.readout import explained, ridge
from nas.probes.tracing import Visit, added_by_branch, responses, trace
from nas.probes.units import delete_units, outputs_of, put, same_shape_groups, stages_of, units_of, weight_layers, without

__all__ = [
    "Visit", "added_by_branch", "delete_units", "effective_lengths", "explained", "gradient_by_length", "length_distribution",
    "mean_length", "outputs_of", "put", "recompute_batch_norm", "recomputed_batch_norm", "responses", "ridge",
    "same_shape_groups", "sampled_norms", "stages_of", "trace", "units_of", "way_back", "weight_layers", "without",
]  # fmt: skip
