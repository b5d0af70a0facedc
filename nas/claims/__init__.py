"""Layer 4: claims of the literature: read from files, bound to the study that tests them, decided from its record."""
