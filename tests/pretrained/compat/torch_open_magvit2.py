"""Open-MAGVIT2's video tokenizer in PyTorch, from its description: what our network and its loader are held against.

Modules are called as the tensors of its checkpoints are.
"""

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = {"filters": 32, "multipliers": (1, 2, 4), "blocks": 1, "bits": 6}
PUBLIC = {"filters": 128, "multipliers": (1, 2, 2, 4), "blocks": 4, "bits": 18}


class Causal(nn.Module):
    """A convolution that sees its own frame and the two before it."""

    def __init__(self, inputs, outputs, size=3, stride=(1, 1, 1), bias=True):
        super().__init__()
        self.conv_1 = nn.Conv3d(inputs, outputs, size, stride, bias=bias)
        side = size // 2
        self.zeros = (side, side, side, side, size - 1, 0)

    def forward(self, x):
        return self.conv_1(F.pad(x, self.zeros))


def norm(width):
    return nn.GroupNorm(32, width, eps=1e-6)


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1, self.conv2 = Causal(inputs, outputs, bias=False), Causal(outputs, outputs, bias=False)
        if inputs != outputs:
            self.nin_shortcut = Causal(inputs, outputs, 1, bias=False)

    def forward(self, x):
        seen = self.conv1(F.silu(self.norm1(x)))
        seen = self.conv2(F.silu(self.norm2(seen)))
        return seen + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


def chain(inputs, outputs, count):
    return nn.ModuleList([Block(inputs if n == 0 else outputs, outputs) for n in range(count)])


def through(blocks, x):
    for block in blocks:
        x = block(x)
    return x


class Adaptive(nn.Module):
    """A norm scaled and shifted by what the latents of the whole clip are like."""

    def __init__(self, bits, width):
        super().__init__()
        self.gamma, self.beta = nn.Linear(bits, width), nn.Linear(bits, width)

    def forward(self, x, z):
        flat = z.flatten(2)
        scale = self.gamma(torch.sqrt(flat.var(-1, unbiased=True) + 1e-6))
        shift = self.beta(flat.mean(-1))
        return scale[..., None, None, None] * F.group_norm(x, 32, eps=1e-6) + shift[..., None, None, None]


class Upsample(nn.Module):
    def __init__(self, width, time):
        super().__init__()
        self.time = time
        self.conv1 = Causal(width, 4 * time * width)

    def forward(self, x):
        clips, width, frames, rows, columns = x.shape
        cells = self.conv1(x).unflatten(1, (self.time, 2, 2, width))  # B, s, 2, 2, C, T, H, W
        x = cells.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(clips, width, self.time * frames, 2 * rows, 2 * columns)
        return torch.cat([x[:, :, :1], x[:, :, self.time:]], 2)


class Level(nn.Module):
    pass


def halves_time(multiplier):
    return 1 if multiplier == 1 else 2


class Encoder(nn.Module):
    def __init__(self, filters, multipliers, blocks, bits):
        super().__init__()
        self.conv_in = Causal(3, filters, bias=False)
        self.down, width = nn.ModuleList(), filters
        for n, multiplier in enumerate(multipliers):
            level = Level()
            level.block = chain(width, filters * multiplier, blocks)
            width = filters * multiplier
            if n + 1 < len(multipliers):
                level.downsample = Causal(width, width, stride=(halves_time(multiplier), 2, 2))
            self.down.append(level)
        self.mid_block, self.norm_out, self.conv_out = chain(width, width, blocks), norm(width), Causal(width, bits, 1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down:
            x = through(level.block, x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        return self.conv_out(F.silu(self.norm_out(through(self.mid_block, x))))


class Decoder(nn.Module):
    def __init__(self, filters, multipliers, blocks, bits):
        super().__init__()
        width = filters * multipliers[-1]
        self.conv_in, self.mid_block = Causal(bits, width), chain(width, width, blocks)
        levels, adaptive = [], []
        for n in reversed(range(len(multipliers))):
            adaptive.append(Adaptive(bits, width))
            level = Level()
            level.block = chain(width, filters * multipliers[n], blocks)
            width = filters * multipliers[n]
            if n:
                level.upsample = Upsample(width, halves_time(multipliers[n - 1]))
            levels.append(level)
        self.up, self.adaptive = nn.ModuleList(levels[::-1]), nn.ModuleList(adaptive[::-1])
        self.norm_out, self.conv_out = norm(width), Causal(width, 3)

    def forward(self, z):
        x = through(self.mid_block, self.conv_in(z))
        for level, adaptive in reversed(list(zip(self.up, self.adaptive))):
            x = through(level.block, adaptive(x, z))
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class OpenMagvit2(nn.Module):
    """Videos (B, 3, T, H, W) are in [-1, 1]; the first channel of a latent is the highest bit of its code."""

    def __init__(self, filters, multipliers, blocks, bits):
        super().__init__()
        self.encoder = Encoder(filters, multipliers, blocks, bits)
        self.decoder = Decoder(filters, multipliers, blocks, bits)

    def codes(self, z):
        weight = 2 ** torch.arange(z.shape[1] - 1, -1, -1)
        return ((z > 0) * weight[:, None, None, None]).sum(1)

    def decode(self, z):
        return self.decoder(torch.where(z > 0, 1.0, -1.0))


def checkpoint(network, average):
    """What Lightning writes of a network in training: a dict with the entry "state_dict" and others."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    state |= {"model_ema." + name.replace(".", ""): value.clone() for name, value in average.state_dict().items()}
    state |= {
        "model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7, dtype=torch.int32),
        "loss.discriminator.main.0.weight": torch.zeros(4, 3, 3, 3, 3),
        "loss.discriminator.main.0.bias": torch.zeros(4),
        "loss.discriminator.main.3.running_mean": torch.zeros(8),
        "loss.discriminator.main.3.num_batches_tracked": torch.tensor(3),
        "model_ema.lossdiscriminatormain0weight": torch.zeros(4, 3, 3, 3, 3),
        "loss.perceptual_loss.scaling_layer.shift": torch.zeros(1, 3, 1, 1),
        "loss.perceptual_loss.net.slice1.0.weight": torch.zeros(8, 3, 3, 3),
        "loss.perceptual_loss.lin0.model.1.weight": torch.zeros(1, 8, 1, 1),
    }
    optimizer = {"state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
    return {"epoch": 1, "global_step": 7, "pytorch-lightning_version": "2.2.0", "state_dict": state, "loops": {},
            "callbacks": {}, "optimizer_states": [optimizer], "lr_schedulers": []}
