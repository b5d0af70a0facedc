"""Plugins for nas: pictures of stripes, and a block that looks along them."""
