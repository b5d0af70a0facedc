"""A generator and a discriminator as one network, for adversarial training by one optimizer."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.func import functional_call

from nas.plugin import Count, Factory, Initialisation, Network, NetworkContext, plugin, use

KEPT = 1024
_STEP = 1.6180339887498949


@plugin("adversarial_pair")
class AdversarialPair(Network):
    """A generator and a discriminator that train each other in the same steps, for the task `generation`.

    The generator reads `num_latent` normal numbers, drawn anew for every picture while it trains; in evaluation the i-th input
    of a batch gets the i-th of a fixed list, so that answers can be compared. Each network's loss reaches its own parameters only:
    the discriminator scores made pictures as they are, and once more with its parameters held, for the generator.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        generator: Factory[Network] = use("generator", size=2, widths=(32, 32)),
        discriminator: Factory[Network] = use("discriminator", widths=(32, 32)),
        num_latent: Count = 16,
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        self.generator = generator(NetworkContext((num_latent,), context.input_shape[0]))
        self.discriminator = discriminator(NetworkContext(context.input_shape, 1))
        self.register_buffer("latents", latents(KEPT, num_latent), persistent=False)
        self.latents: Tensor
        self.initialisation = init()
        self.num_layers = self.generator.num_layers + self.discriminator.num_layers

    def forward(self, x: Tensor) -> Tensor:
        """Real pictures (B, C, H, W) -> made ones and three maps of scores, (B, C + 3, H, W)."""
        z = torch.randn_like(self.latents[:1].expand(len(x), -1)) if self.training else self.latents.repeat(len(x) // KEPT + 1, 1)[: len(x)]
        made = self.generator(z)
        held = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        fooling = functional_call(self.discriminator, held, (made,))
        scores = torch.cat((self.discriminator(x), self.discriminator(made.detach()), fooling), dim=1)
        return torch.cat((made, scores[:, :, None, None].expand(-1, -1, *made.shape[2:])), dim=1)


def latents(count: int, size: int) -> Tensor:
    """Return `count` vectors of `size` nearly normal numbers, spread evenly: a lattice of irrational steps, (count, size)."""
    steps = torch.tensor([math.fmod(_STEP * math.sqrt(prime), 1.0) for prime in _primes(size)], dtype=torch.float64)
    share = torch.arange(1, count + 1, dtype=torch.float64)[:, None] * steps % 1.0
    return (math.sqrt(2) * torch.erfinv((2 * share - 1).clamp(-0.9999, 0.9999))).float()


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found
