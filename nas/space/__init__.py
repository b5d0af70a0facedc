"""Layer 2: YAML to a typed Space, checked against the plugins' signatures."""

from nas.space.asking import Asked, asked_measure
from nas.space.reading import load_space, parse_space
from nas.space.replacing import load_space_with, name_of_data, with_data
from nas.space.section_reader import parse_probe
from nas.space.sections import Constraint, MeasureOptions, SearchOptions
from nas.space.size import size_of
from nas.space.space import Space
from nas.space.templates import Decision, Fixed, ListTemplate, NodeTemplate, Placed, Template

__all__ = [
    "Asked", "Constraint", "Decision", "Fixed", "ListTemplate", "MeasureOptions", "NodeTemplate", "Placed", "SearchOptions", "Space",
    "Template", "asked_measure", "load_space", "load_space_with", "name_of_data", "parse_probe", "parse_space", "size_of",
    "with_data",
]  # fmt: skip
