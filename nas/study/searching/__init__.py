"""Layer 4: what proposes architectures and what lets them pass: samplers, starts, gates, tuning, baselines."""
