"""Identity: how far each unit is from handing its input on, and whether its branch steps down the loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from nas.plugin import Count, Figure, Probe, Reading, Subject, plugin
from nas.probes import added_by_branch, trace


@plugin("identity")
class Identity(Probe):
    """The distance ‖y − x‖/‖x‖ of each unit from the identity, and the cosine of F(x) with the loss's negative gradient at x.

    He et al. 2015, 1512.03385, §3.1, suppose that the wanted function is nearer to the identity than to zero. Jastrzębski et
    al. 2018, 1710.04773, §3: with x + F(x), the loss changes by F(x)·∂L/∂x to first order, so a unit that refines takes a
    step down the gradient; upper units do. Units that change the shape are left out; the cosine is the mean over examples.
    """

    figures = (
        Figure("mean_distance", "the mean distance from the identity over units"),
        Figure("first_cosine", "the cosine of the first unit", "maximize"),
        Figure("last_cosine", "the cosine of the last unit", "maximize"),
        Figure("mean_cosine", "the mean cosine over units", "maximize"),
    )
    series = (
        Figure("distance", "‖y − x‖/‖x‖ of each unit that keeps its shape"),
        Figure("cosine", "the cosine of F(x) with the negative gradient, of each unit that keeps its shape"),
    )

    def __init__(self, *, examples: Count = 128) -> None:
        self.num_examples = examples

    def measure(self, subject: Subject) -> Reading:
        """Run the test examples forward and back once."""
        batch = subject.examples("test", self.num_examples)
        outputs, every = trace(subject.network(), batch.inputs.clone().requires_grad_())
        visits = [visit for visit in every if visit.keeps_shape]
        if not visits:
            raise ValueError("every unit changes its input's shape, so none can be near the identity")
        gradients = torch.autograd.grad(subject.loss(outputs, batch.targets), [visit.x for visit in visits], allow_unused=True)
        distance, cosine = [], []
        with torch.no_grad():
            for visit, gradient in zip(visits, gradients, strict=True):
                distance.append(float((visit.y - visit.x).norm() / visit.x.norm().clamp_min(torch.finfo(visit.x.dtype).tiny)))
                added = added_by_branch(visit.unit, visit.x)
                comparable = gradient is not None and added.shape == gradient.shape
                cosine.append(float(F.cosine_similarity(added.flatten(1), -gradient.flatten(1)).mean()) if comparable else math.nan)
        found = [value for value in cosine if math.isfinite(value)]
        figures = {"mean_distance": sum(distance) / len(distance)}
        if found:
            figures |= {"first_cosine": found[0], "last_cosine": found[-1], "mean_cosine": sum(found) / len(found)}
        words = f"units are {figures['mean_distance']:.2f} from the identity on average"
        if found:
            words += f"; the cosine of F(x) with the negative gradient goes from {found[0]:+.2f} to {found[-1]:+.2f}"
        return Reading(figures, {"distance": tuple(distance), "cosine": tuple(cosine)}, words)
