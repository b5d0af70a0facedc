"""Layer 5: what optimizers, schedules, augmentations and data sets have to keep."""

from __future__ import annotations

import math
from contextlib import suppress

import torch
from torch import Tensor, nn

from nas.plugin import Data, DataSet, Task
from nas.study.jobs.materials import load_task
from nas.testing.subject import Subject, broken
from nas.values.architecture import PluginNode


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
    """For each of its tasks: inputs are finite, targets are such as the task needs, and loading again gives the same."""
    for name in type(subject.built()).tasks:
        _check_data_for(subject, load_task(PluginNode(name), subject.registry), name)


def _check_data_for(subject: Subject, task: Task, name: str) -> None:
    data = _loaded(subject, name)
    if data.inputs.dtype not in (torch.float32, torch.uint8):
        broken(f"inputs must be float32, or uint8 pictures, got {data.inputs.dtype}")
    if isinstance(data.inputs, torch.Tensor) and not data.inputs.isfinite().all():
        broken("inputs must be finite")
    if len(data.targets) != len(data.inputs):
        broken(f"there must be one target for each of {len(data.inputs)} inputs, got {len(data.targets)}")
    try:
        task.check(data)
    except ValueError as error:
        broken(f"{name} {error}")
    if data.targets.is_floating_point():
        if data.targets.dtype != torch.float32 or not data.targets.isfinite().all():
            broken(f"targets that are numbers must be finite float32, got {data.targets.dtype}")
    elif data.targets.dtype != torch.int64:
        broken(f"targets that are classes must be int64, got {data.targets.dtype}")
    elif data.targets.min() < 0 or data.targets.max() >= data.num_classes:
        broken(f"targets run from {data.targets.min()} to {data.targets.max()}, but there are {data.num_classes} classes")
    if _loaded(subject, name).fingerprint() != data.fingerprint():
        broken("loading it twice gives two data sets; order and content must not depend on chance")


def _loaded(subject: Subject, task: str) -> Data:
    source: DataSet = subject.built()
    source.task = task
    return source.load()


def check_task_tallies_add_up(subject: Subject) -> None:
    """Tallies of two halves add up to the whole's, and give a finite figure for every metric that the task declares."""
    task, (outputs, targets) = subject.built(), _answers(subject)
    whole, halves = task.tally(outputs, targets), [task.tally(outputs[i::2], targets[i::2]) for i in range(2)]
    if not torch.allclose(whole.double(), sum(halves).double(), rtol=1e-5):
        broken(f"tally gives {whole.tolist()} for a batch, and for its halves {[half.tolist() for half in halves]}")
    figures, declared = task.figures(whole), {metric.name for metric in task.metrics}
    if set(figures) != declared or not all(math.isfinite(value) for value in figures.values()):
        broken(f"figures gives {dict(figures)}, but the task declares {sorted(declared)}")


def check_task_loss_is_differentiable(subject: Subject) -> None:
    """The loss is one finite number with a gradient for the outputs."""
    outputs, targets = _answers(subject)
    loss = subject.built().loss(outputs.requires_grad_(), targets)
    if loss.shape != () or not loss.isfinite():
        broken(f"the loss must be one finite number, got {loss}")
    loss.backward()
    if outputs.grad is None or not outputs.grad.any():
        broken("no gradient reaches the outputs")


def check_task_constant_answer_has_a_level(subject: Subject) -> None:
    """`constant` gives a level for every metric and for the loss: what a network scores that ignores its input."""
    task, (outputs, targets) = subject.built(), _answers(subject)
    levels = task.constant(targets, tuple(outputs.shape[1:]))
    missing = {metric.name for metric in task.all_metrics()} - set(levels)
    if missing:
        broken(f"constant says nothing of {', '.join(sorted(missing))}")


def _answers(subject: Subject) -> tuple[Tensor, Tensor]:
    """Return answers of a network and targets that fit the task: those of the first data set that it checks and takes."""
    generator, task = torch.Generator().manual_seed(0), subject.built()
    tried = [torch.randint(3, shape, generator=generator) for shape in ((8,), (8, 4, 4))]
    tried.append(torch.randn(8, 2, generator=generator))
    inputs = torch.randn(8, 1, 4, 4, generator=generator)
    tried.append(inputs.clone())
    for targets in tried:
        data = Data(inputs, targets, ("a", "b", "c"))
        with suppress(ValueError):
            task.check(data)
            return torch.randn(8, *task.output_shape(data), generator=generator), targets
    tried_on = "a class an input, a class a pixel, two numbers an input, and the inputs themselves"
    return broken(f"check(data) refuses {tried_on}; it is tried on these")


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
TASK = (check_task_tallies_add_up, check_task_loss_is_differentiable, check_task_constant_answer_has_a_level)
