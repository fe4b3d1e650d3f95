"""Our tokenizer beside a plain PyTorch network of the same shape, and beside magvit2-pytorch where it is installed.

    pip install -e ".[bench]"
    python benchmarks/pytorch.py [--filters=32] [--multipliers=1,2,4] [--clip=16,64,64] [--batch_size=2]
        [--repeats=5] [--output=FILE.json]

Both networks have the same layers, number of parameters and losses (squared error, vector quantization; no GAN) and
make a training step with Adam, encode and decode, in float32. The PyTorch one is what one writes first: Conv3d,
GroupNorm, SiLU, avg_pool3d, nearest upsampling, as it comes, without torch.compile. magvit2-pytorch has another network
of about as many parameters, without its GAN and perceptual loss. Calls take turns, so that what else the machine does
hits all; medians with the fastest and the slowest call. JAX and PyTorch each use every core.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import lowerings  # beside this file; it prepares jax
import torch
import torch.nn.functional as F
from torch import nn

from videogvt.report.grids import as_text
from videogvt.train.journal import environment
from videogvt.train.state import parameter_count
from videogvt.train.timing import Timing, alternate


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
    """Means of 2 x 2 x 2 cells."""

    def forward(self, x):
        return F.avg_pool3d(x, 2)


class Tokenizer(nn.Module):
    """The 3-D VQ autoencoder with two residual blocks a level, every level halving time and space."""

    def __init__(self, filters: int, multipliers: list[int], codes: int = 1024, width: int = lowerings.WIDTH):
        super().__init__()
        widths, groups = [filters * multiplier for multiplier in multipliers], math.gcd(32, filters)
        layers, before = [nn.Conv3d(3, filters, 3, padding=1, bias=False)], filters
        for level, features in enumerate(widths):
            layers += [Block(before, features, groups), Block(features, features, groups)]
            layers += [Pool()] if level < len(widths) - 1 else []
            before = features
        layers += [Block(before, before, groups), Block(before, before, groups), nn.GroupNorm(groups, before, 1e-6)]
        self.encoder = nn.Sequential(*layers, nn.SiLU(), nn.Conv3d(before, width, 1))
        layers = [nn.Conv3d(width, before, 3, padding=1), Block(before, before, groups), Block(before, before, groups)]
        for level, features in reversed(list(enumerate(widths))):
            layers += [Block(before, features, groups), Block(features, features, groups)]
            if level:
                layers += [nn.Upsample(scale_factor=2), nn.Conv3d(features, features, 3, padding=1)]
            before = features
        last = nn.Conv3d(before, 3, 3, padding=1)
        self.decoder = nn.Sequential(*layers, nn.GroupNorm(groups, before, 1e-6), nn.SiLU(), last)
        self.codebook = nn.Parameter(torch.empty(codes, width).uniform_(-((3 / codes) ** 0.5), (3 / codes) ** 0.5))

    def forward(self, video):
        """The loss of clips (B, 3, T, H, W)."""
        z = self.encoder(video).movedim(1, -1)
        flat = z.reshape(-1, z.shape[-1])
        distance = flat.square().sum(1, keepdim=True) - 2 * flat @ self.codebook.T + self.codebook.square().sum(1)
        vectors = self.codebook[distance.argmin(1)].reshape(z.shape)
        share = F.softmax(-distance / 0.01, 1)
        each = -(share * F.log_softmax(-distance / 0.01, 1)).sum(1).mean()
        mean = share.mean(0)
        entropy = each + (mean * (mean + 1e-5).log()).sum()
        quantization = 0.25 * F.mse_loss(z, vectors.detach()) + F.mse_loss(vectors, z.detach()) + 0.1 * entropy
        latents = z + (vectors - z).detach()
        return F.mse_loss(self.decoder(latents.movedim(-1, 1)), video) + quantization


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


def plain(flags: argparse.Namespace) -> tuple[int, dict[str, Callable[[], None]]]:
    """Parameters and calls of the plain network."""
    torch.manual_seed(0)
    network, levels = Tokenizer(flags.filters, flags.multipliers), len(flags.multipliers) - 1
    video = torch.rand(flags.batch_size, 3, *flags.clip)
    latents = torch.randn(flags.batch_size, lowerings.WIDTH, *(side >> levels for side in flags.clip))
    return sum(p.numel() for p in network.parameters()), {
        "train step": training(network, lambda: network(video)),
        "encode": without_gradients(network.encoder, video), "decode": without_gradients(network.decoder, latents),
    }


def magvit2(flags: argparse.Namespace) -> tuple[int, dict[str, Callable[[], None]]]:
    """Parameters and calls of magvit2-pytorch; it wants square clips of one frame more."""
    from magvit2_pytorch import VideoTokenizer

    frames, size, _ = flags.clip
    network = VideoTokenizer(
        image_size=size, init_dim=2 * flags.filters, max_dim=256, codebook_size=1024, use_gan=False,
        perceptual_loss_weight=0.0, layers=(
            ("consecutive_residual", 2), "compress_space", "compress_time", ("consecutive_residual", 2),
            "compress_space", "compress_time", ("consecutive_residual", 2)),
    )
    video = torch.rand(flags.batch_size, 3, frames + 1, size, size)
    codes = network.tokenize(video)
    return sum(p.numel() for p in network.parameters()), {
        "train step": training(network, lambda: network(video, return_loss=True)[0]),
        "encode": without_gradients(network.tokenize, video),
        "decode": without_gradients(network.decode_from_code_indices, codes),
    }


def compare(flags: argparse.Namespace) -> dict[str, Any]:
    """Timings of all networks."""
    recipe = lowerings.network(flags)
    state, video_BTHWC = lowerings.start(recipe, flags)
    contestants = {"ours": (parameter_count(state.params), lowerings.compiled(recipe, state, video_BTHWC)),
                   "PyTorch": plain(flags)}
    if importlib.util.find_spec("magvit2_pytorch"):
        contestants["magvit2-pytorch"] = magvit2(flags)
    rows = []
    for work in lowerings.WORK:
        calls = {name: calls[work] for name, (_, calls) in contestants.items()}
        timings = alternate(calls, repeats=flags.repeats, budget_s=300)
        rows.append({"name": work, **{name: timing.seconds for name, timing in timings.items()}})
    return {"rows": rows, "about": {
        "parameters": {name: count for name, (count, _) in contestants.items()}, "batch_size": flags.batch_size,
        "clip": flags.clip, "torch": importlib.metadata.version("torch"), "threads": torch.get_num_threads(),
        **environment(),
    }}


def main(arguments: list[str] | None = None) -> None:
    flags = lowerings.parser(__doc__).parse_args(arguments)
    found = compare(flags)
    counts = found["about"]["parameters"]
    print(f"torch {found['about']['torch']}, jax {found['about']['packages']['jax']}, {found['about']['device']}; "
          "parameters: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + "\n")
    lines = []
    for row in found["rows"]:
        ours = Timing(row["ours"])
        cells = [str(Timing(row[name])) for name in counts]
        ratios = [f"{ours.median / Timing(row[name]).median:.2f}" for name in counts if name != "ours"]
        lines.append([row["name"], *cells, *ratios])
    print(as_text(["", *counts, *(f"ours / {name}" for name in counts if name != "ours")], lines))
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
