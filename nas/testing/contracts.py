"""Layer 5: the contract of each kind of plugin: classes to inherit in a test file, and a function to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from nas.registry import Registry, discover
from nas.testing import network_checks, part_checks, probe_checks, training_checks, unit_checks
from nas.testing.common_checks import check_signature
from nas.testing.subject import CheckResult, ContractError, Subject
from nas.values.architecture import Value

Check = Callable[[Subject], None]

CHECKS: Mapping[str, tuple[Check, ...]] = {
    "network": network_checks.NETWORK,
    "block": unit_checks.BLOCK,
    "shortcut": unit_checks.SHORTCUT,
    "stem": part_checks.STEM,
    "head": part_checks.HEAD,
    "long_skip": part_checks.LONG_SKIP,
    "norm": unit_checks.NORM,
    "activation": unit_checks.ACTIVATION,
    "initialisation": network_checks.INITIALISATION,
    "data": training_checks.DATA,
    "task": training_checks.TASK,
    "optimizer": training_checks.OPTIMIZER,
    "schedule": training_checks.SCHEDULE,
    "augmentation": training_checks.AUGMENTATION,
    "probe": probe_checks.PROBE,
}
"""What is checked of each kind, beside the signature; of a kind that is not listed, the signature alone."""


def checks_of(kind: str) -> tuple[Check, ...]:
    """Return the checks of one kind of plugin."""
    return (check_signature, *CHECKS.get(kind, ()))


def check_plugin(
    registry: Registry,
    kind: str,
    name: str,
    *,
    parameters: Mapping[str, Value] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> tuple[CheckResult, ...]:
    """Run the contract of one plugin, every check to its end. Raises PluginError for an unknown one."""
    subject = Subject(registry, kind, registry.find(kind, name).name, parameters or {}, input_shape)
    return tuple(_result(check, subject) for check in checks_of(kind))


def _result(check: Check, subject: Subject) -> CheckResult:
    name = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        check(subject)
    except ContractError as error:
        return CheckResult(name, passed=False, detail=str(error))
    except Exception as error:  # whatever a plugin raises is a finding, and the other checks still run
        return CheckResult(name, passed=False, detail=f"{type(error).__name__}: {error}")
    return CheckResult(name, passed=True)


@cache
def _discovered(folders: tuple[Path | str, ...]) -> Registry:
    return discover(folders)


class PluginContract:
    """The contract of one plugin as pytest tests; inherit the class of its kind and give the plugin's `name`.

    `parameters` are set where the defaults are not to be tested, or where there are none. `folders` are searched beside
    the usual places. `input_shape` is what a network takes, (C, H, W), where it does not take pictures of 32×32.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    parameters: ClassVar[Mapping[str, Value]] = {}
    folders: ClassVar[tuple[Path | str, ...]] = ()
    input_shape: ClassVar[tuple[int, ...] | None] = None

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each check; pytest calls this."""
        checks = checks_of(self.kind)
        metafunc.parametrize("check", checks, ids=[check.__name__.removeprefix("check_") for check in checks])

    def test_contract(self, check: Check) -> None:
        """Run one check; it raises ContractError with the rule and what was seen."""
        registry = _discovered(self.folders)
        registry.find(self.kind, self.name)
        check(Subject(registry, self.kind, self.name, self.parameters, self.input_shape))


class NetworkContract(PluginContract):
    """The contract of a network."""

    kind = "network"


class BlockContract(PluginContract):
    """The contract of a block."""

    kind = "block"


class ShortcutContract(PluginContract):
    """The contract of a shortcut."""

    kind = "shortcut"


class StemContract(PluginContract):
    """The contract of a stem."""

    kind = "stem"


class HeadContract(PluginContract):
    """The contract of a head."""

    kind = "head"


class LongSkipContract(PluginContract):
    """The contract of a long skip."""

    kind = "long_skip"


class NormContract(PluginContract):
    """The contract of a norm."""

    kind = "norm"


class ActivationContract(PluginContract):
    """The contract of an activation."""

    kind = "activation"


class InitialisationContract(PluginContract):
    """The contract of an initialisation."""

    kind = "initialisation"


class DataContract(PluginContract):
    """The contract of a data set."""

    kind = "data"


class TaskContract(PluginContract):
    """The contract of a task."""

    kind = "task"


class OptimizerContract(PluginContract):
    """The contract of an optimizer."""

    kind = "optimizer"


class AugmentationContract(PluginContract):
    """The contract of an augmentation."""

    kind = "augmentation"


class ScheduleContract(PluginContract):
    """The contract of a learning-rate schedule."""

    kind = "schedule"


class ProbeContract(PluginContract):
    """The contract of a probe."""

    kind = "probe"
