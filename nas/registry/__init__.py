"""Layer 1: plugin kinds, discovery, and the signature as the schema."""

from nas.registry.discovery import discover
from nas.registry.registry import PluginInfo, Registry
from nas.registry.signature import Parameter

__all__ = ["Parameter", "PluginInfo", "Registry", "discover"]
