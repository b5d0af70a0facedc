"""Layer 1: what a plugin author imports: one base class a kind, the contexts they are built with, and the decorator.

A plugin is a class that inherits one of the bases below and carries `@plugin("its_name")`. Its keyword-only parameters are
its schema: a space file may set each of them, and only them. Its docstring is its help.

    from nas.plugin import Block, UnitContext, plugin

    @plugin("my_block")
    class MyBlock(Block):
        def __init__(self, context: UnitContext, *, kernel_size: int = 3) -> None: ...
"""

from nas.plugin.chance import above_chance
from nas.plugin.contexts import HeadContext, LongSkipContext, NetworkContext, ShortcutContext, StemContext, UnitContext
from nas.plugin.data import Data, DataSet
from nas.plugin.declaring import Bounds, Count, Each, Factory, Fraction, Positive, plugin, use
from nas.plugin.networks import Activation, GeneratorFor, Head, Initialisation, Network, Norm, Stem
from nas.plugin.pictures import Encoded, PictureFiles, Pictures, file_stamp
from nas.plugin.probes import Examples, Figure, Moment, Probe, Reading, Subject
from nas.plugin.recipes import Augmentation, Optimizer, Schedule, moved
from nas.plugin.tasks import Task
from nas.plugin.units import Block, LongSkip, Shortcut, Unit, last_layer, make_unit
from nas.values.metrics import ACCURACY, IOU, LOSS, MSE, R2, Metric

BASES: tuple[type, ...] = (
    Network, Block, Shortcut, Stem, Head, LongSkip, Norm, Activation, Initialisation, DataSet, Task, Optimizer, Schedule,
    Augmentation, Probe,
)  # fmt: skip
"""Every kind of plugin, by its base class."""

__all__ = [
    "ACCURACY",
    "BASES",
    "IOU",
    "LOSS",
    "MSE",
    "R2",
    "Activation",
    "Augmentation",
    "Block",
    "Bounds",
    "Count",
    "Data",
    "DataSet",
    "Each",
    "Encoded",
    "Examples",
    "Factory",
    "Figure",
    "Fraction",
    "GeneratorFor",
    "Head",
    "HeadContext",
    "Initialisation",
    "LongSkip",
    "LongSkipContext",
    "Metric",
    "Moment",
    "Network",
    "NetworkContext",
    "Norm",
    "Optimizer",
    "PictureFiles",
    "Pictures",
    "Positive",
    "Probe",
    "Reading",
    "Schedule",
    "Shortcut",
    "ShortcutContext",
    "Stem",
    "StemContext",
    "Subject",
    "Task",
    "Unit",
    "UnitContext",
    "above_chance",
    "file_stamp",
    "last_layer",
    "make_unit",
    "moved",
    "plugin",
    "use",
]
