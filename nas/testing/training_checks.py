"""Layer 5: what optimizers, schedules, augmentations and data sets have to keep."""

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
    if data.inputs.dtype not in (torch.float32, torch.uint8):
        broken(f"inputs must be float32, or uint8 pictures, got {data.inputs.dtype}")
    if isinstance(data.inputs, torch.Tensor) and not data.inputs.isfinite().all():
        broken("inputs must be finite")
    if data.targets.dtype != torch.int64 or len(data.targets) != len(data.inputs):
        broken(f"targets must be one int64 for each of {len(data.inputs)} inputs, got {data.targets.dtype} {tuple(data.targets.shape)}")
    if data.targets.min() < 0 or data.targets.max() >= data.num_classes:
        broken(f"targets run from {data.targets.min()} to {data.targets.max()}, but there are {data.num_classes} classes")
    if subject.built().load().fingerprint() != data.fingerprint():
        broken("loading it twice gives two data sets; order and content must not depend on chance")


def check_augmentation_keeps_the_shape(subject: Subject) -> None:
    """Shape, type and device stay, for one channel and for three; values stay finite; the inputs given are left as they were."""
    for shape in ((5, 3, 32, 32), (4, 1, 8, 8)):
        inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        kept = inputs.clone()
        changed = subject.built().apply(inputs, torch.Generator().manual_seed(0))
        if changed.shape != inputs.shape or changed.dtype != inputs.dtype:
            broken(f"apply(inputs, generator) turned {tuple(shape)} {inputs.dtype} into {tuple(changed.shape)} {changed.dtype}")
        if not changed.isfinite().all():
            broken("it made values that are not finite")
        if not torch.equal(inputs, kept):
            broken("it wrote into the inputs it was given; they may be the data set itself")


def check_augmentation_draws_from_its_generator_alone(subject: Subject) -> None:
    """The same generator gives the same pictures, whatever torch's global state, and other pictures draw as much from it."""
    augmentation, ends = subject.built(), []
    first, second = (torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(2))
    results = []
    for inputs in (first, first, second):
        generator = torch.Generator().manual_seed(7)
        torch.rand(1)  # moves the global state
        results.append(augmentation.apply(inputs, generator))
        ends.append(generator.get_state())
    if not torch.equal(results[0], results[1]):
        broken("the same generator gave two results; draw from it and from nothing else, so that twins see the same pictures")
    if not torch.equal(ends[0], ends[2]):
        broken("how much it draws depends on what is in the pictures; it may depend on their shape alone")


OPTIMIZER = (check_optimizer_learns,)
AUGMENTATION = (check_augmentation_keeps_the_shape, check_augmentation_draws_from_its_generator_alone)
SCHEDULE = (check_schedule_is_a_finite_factor,)
DATA = (check_data_is_complete,)
