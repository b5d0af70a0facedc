"""Layer 5: what optimizers, schedules and data sets have to keep."""

from __future__ import annotations

import math

import torch
from torch import nn

from nas.testing.subject import Subject, broken


def check_optimizer_learns(subject: Subject) -> None:
    """It moves every parameter it is given and brings a simple loss down."""
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.5)
    optimizer = subject.built().build(layer.parameters())
    if not isinstance(optimizer, torch.optim.Optimizer):
        broken(f"build(parameters) returns {type(optimizer).__name__}, not a torch.optim.Optimizer")
    before = [parameter.clone() for parameter in layer.parameters()]
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = layer(torch.ones(1, 3)).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if any(torch.equal(old, new) for old, new in zip(before, layer.parameters(), strict=True)):
        broken("a parameter did not move in five steps")
    if not losses[-1] < losses[0]:
        broken(f"five steps at its default rate took a quadratic loss from {losses[0]:g} to {losses[-1]:g}")


def check_schedule_is_a_finite_factor(subject: Subject) -> None:
    """The factor is a finite number of at least 0 at every step of short and long trainings, positive somewhere, and pure."""
    schedule = subject.built()
    for num_steps in (1, 2, 7, 100):
        factors = [schedule.factor(step, num_steps) for step in range(num_steps)]
        if not all(math.isfinite(factor) and factor >= 0 for factor in factors):
            broken(f"a factor of {num_steps} steps is not a finite number of at least 0: {factors[:5]} …")
        if not any(factors):
            broken(f"the factor is zero at each of {num_steps} steps: nothing would be learned")
        if factors != [schedule.factor(step, num_steps) for step in range(num_steps)]:
            broken("the same step gives two factors; keep no state, a resumed training asks again")


def check_data_is_complete(subject: Subject) -> None:
    """Inputs are finite float32, targets are int64 in the range of the classes, and loading again gives the same."""
    data = subject.built().load()
    if data.inputs.dtype != torch.float32 or not data.inputs.isfinite().all():
        broken(f"inputs must be finite float32, got {data.inputs.dtype}")
    if data.targets.dtype != torch.int64 or len(data.targets) != len(data.inputs):
        broken(f"targets must be one int64 for each of {len(data.inputs)} inputs, got {data.targets.dtype} {tuple(data.targets.shape)}")
    if data.targets.min() < 0 or data.targets.max() >= data.num_classes:
        broken(f"targets run from {data.targets.min()} to {data.targets.max()}, but there are {data.num_classes} classes")
    if subject.built().load().fingerprint() != data.fingerprint():
        broken("loading it twice gives two data sets; order and content must not depend on chance")


OPTIMIZER = (check_optimizer_learns,)
SCHEDULE = (check_schedule_is_a_finite_factor,)
DATA = (check_data_is_complete,)
