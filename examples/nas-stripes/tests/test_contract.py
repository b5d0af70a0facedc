"""The contract of each plugin of the package."""

from nas.testing import BlockContract, DataContract


class TestStripes(DataContract):
    name = "stripes"


class TestCrossed(BlockContract):
    name = "crossed"
