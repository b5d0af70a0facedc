"""Layer 5: what helps a plugin's author and reader: facts, examples, drawings, the catalogue, new files to start from."""
