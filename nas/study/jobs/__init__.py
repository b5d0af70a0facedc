"""Layer 4: one training, or a group of them, as a value: what it needs, how it is run, where its networks are kept."""
