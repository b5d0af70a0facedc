"""Layer 5: the plugin contract as tests that a plugin's author inherits in one line, and as a function to call.

    from nas.testing import BlockContract

    class TestMyBlock(BlockContract):
        name = "my_block"

`check_plugin` runs the same checks and returns what each one found.
"""

from nas.testing.contracts import (
    ActivationContract,
    AugmentationContract,
    BlockContract,
    DataContract,
    HeadContract,
    InitialisationContract,
    LongSkipContract,
    NetworkContract,
    NormContract,
    OptimizerContract,
    PluginContract,
    ProbeContract,
    ScheduleContract,
    ShortcutContract,
    StemContract,
    TaskContract,
    check_plugin,
)
from nas.testing.subject import CheckResult, ContractError, Subject

__all__ = [
    "ActivationContract", "AugmentationContract", "BlockContract", "CheckResult", "ContractError", "DataContract",
    "HeadContract", "InitialisationContract", "LongSkipContract", "NetworkContract", "NormContract", "OptimizerContract",
    "PluginContract", "ProbeContract", "ScheduleContract", "ShortcutContract", "StemContract", "Subject", "TaskContract",
    "check_plugin",
]  # fmt: skip
