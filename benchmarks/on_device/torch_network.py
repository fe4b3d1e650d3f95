"""The tokenizer as one first writes it in PyTorch: Conv3d, GroupNorm, SiLU, avg_pool3d and nearest upsampling."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

WIDTH = 256  # of the latents


class Block(nn.Module):
    """Two normalised convolutions and a shortcut."""

    def __init__(self, width: int, features: int, groups: int):
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(groups, width, 1e-6), nn.GroupNorm(groups, features, 1e-6)])
        self.convs = nn.ModuleList([nn.Conv3d(width, features, 3, padding=1, bias=False),
                                    nn.Conv3d(features, features, 3, padding=1, bias=False)])
        self.shortcut = nn.Conv3d(width, features, 1, bias=False) if width != features else nn.Identity()

    def forward(self, x):
        y = x
        for norm, conv in zip(self.norms, self.convs):
            y = conv(F.silu(norm(y)))
        return self.shortcut(x) + y


class Pool(nn.Module):
    """Means of cells, of 2 x 2 pixels in one frame or in two."""

    def __init__(self, halves_time: bool):
        super().__init__()
        self.window = (2 if halves_time else 1, 2, 2)

    def forward(self, x):
        return F.avg_pool3d(x, self.window)


class Tokenizer(nn.Module):
    """The 3-D VQ autoencoder with two residual blocks a level.

    Args:
      filters, multipliers: base width, and the width of each level in units of it.
      halves_time: for each step to the next level, whether it halves time as well as space; None for all.
      codes, width: size of the codebook and of its vectors.
    """

    def __init__(self, filters: int, multipliers: Sequence[int], halves_time: Sequence[bool] | None = None,
                 codes: int = 1024, width: int = WIDTH):
        super().__init__()
        widths, groups = [filters * multiplier for multiplier in multipliers], math.gcd(32, filters)
        halves = [True] * (len(widths) - 1) if halves_time is None else list(halves_time)[: len(widths) - 1]
        layers, before = [nn.Conv3d(3, filters, 3, padding=1, bias=False)], filters
        for level, features in enumerate(widths):
            layers += [Block(before, features, groups), Block(features, features, groups)]
            layers += [Pool(halves[level])] if level < len(widths) - 1 else []
            before = features
        layers += [Block(before, before, groups), Block(before, before, groups), nn.GroupNorm(groups, before, 1e-6)]
        self.encoder = nn.Sequential(*layers, nn.SiLU(), nn.Conv3d(before, width, 1))
        layers = [nn.Conv3d(width, before, 3, padding=1), Block(before, before, groups), Block(before, before, groups)]
        for level, features in reversed(list(enumerate(widths))):
            layers += [Block(before, features, groups), Block(features, features, groups)]
            if level:
                factor = (2.0 if halves[level - 1] else 1.0, 2.0, 2.0)
                layers += [nn.Upsample(scale_factor=factor), nn.Conv3d(features, features, 3, padding=1)]
            before = features
        last = nn.Conv3d(before, 3, 3, padding=1)
        self.decoder = nn.Sequential(*layers, nn.GroupNorm(groups, before, 1e-6), nn.SiLU(), last)
        self.codebook = nn.Parameter(torch.empty(codes, width).uniform_(-((3 / codes) ** 0.5), (3 / codes) ** 0.5))

    def forward(self, video):
        """The loss of clips (B, 3, T, H, W)."""
        z = self.encoder(video).movedim(1, -1).float()
        flat = z.reshape(-1, z.shape[-1])
        distance = flat.square().sum(1, keepdim=True) - 2 * flat @ self.codebook.T + self.codebook.square().sum(1)
        vectors = self.codebook[distance.argmin(1)].reshape(z.shape)
        share = F.softmax(-distance / 0.01, 1)
        each = -(share * F.log_softmax(-distance / 0.01, 1)).sum(1).mean()
        mean = share.mean(0)
        entropy = each + (mean * (mean + 1e-5).log()).sum()
        quantization = 0.25 * F.mse_loss(z, vectors.detach()) + F.mse_loss(vectors, z.detach()) + 0.1 * entropy
        latents = z + (vectors - z).detach()
        return F.mse_loss(self.decoder(latents.movedim(-1, 1)).float(), video) + quantization


def training(network: nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """A call that makes one training step."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-4, betas=(0.0, 0.99))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step


def without_gradients(function: Callable, *inputs: torch.Tensor) -> Callable[[], None]:
    """A call of a function of which no gradient is wanted."""

    def call():
        with torch.inference_mode():
            function(*inputs)

    return call
