"""Layer 3: a network, a recipe and data become an Outcome. `fit` imports Lightning, which takes seconds; `data` does not."""
