"""Layer 4: what proposes architectures and what lets them pass: samplers, pruners, starts, gates, tuning, baselines."""
