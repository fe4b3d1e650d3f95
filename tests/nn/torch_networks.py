"""The published PyTorch modules in small: enough to hold our networks against them with the same random weights."""

import torch
import torch.nn.functional as F
from torch import nn


def randomize(network, seed=0):
    """Weights that keep the signal alive, and statistics of normalization away from 0 and 1; in inference mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            noise = torch.randn(value.shape, generator=generator) if value.is_floating_point() else None
            if noise is None:
                continue
            if value.ndim > 1:
                value.copy_(noise * (2 / value[0].numel()) ** 0.5)
            else:
                value.copy_(name.endswith(("var", "weight")) + 0.2 * noise.abs())
    return network.eval()


class Same(nn.Module):
    """Zeros around, so that size / stride, rounded up, is left; the odd one goes to the far edge."""

    def __init__(self, inner, size, stride):
        super().__init__()
        self.inner, self.size, self.stride = [inner], size, stride  # in a list: not a submodule

    def forward(self, x):
        pads = []
        for length, size, stride in reversed(list(zip(x.shape[2:], self.size, self.stride))):
            missing = max((-(-length // stride) - 1) * stride + size - length, 0)
            pads += [missing // 2, missing - missing // 2]
        return self.inner[0](F.pad(x, pads))


def pool(size, stride):
    return Same(nn.MaxPool3d(size, stride), size, stride)


class Unit(nn.Module):
    def __init__(self, inputs, outputs, size=1, stride=1, plain=False):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, size, stride, bias=plain)
        self.same = Same(self.conv3d, (size,) * 3, (stride,) * 3)
        if not plain:
            self.bn = nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x):
        x = self.same(x)
        return F.relu(self.bn(x)) if hasattr(self, "bn") else x


class Inception(nn.Module):
    def __init__(self, inputs, widths):
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = Unit(inputs, b0)
        self.b1a, self.b1b = Unit(inputs, b1a), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(inputs, b2a), Unit(b2a, b2b, 3)
        self.b3a, self.b3b = pool((3, 3, 3), (1, 1, 1)), Unit(inputs, b3b)

    def forward(self, x):
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))
        return torch.cat(branches, 1)


class TorchI3D(nn.Module):
    """pytorch-i3d's network."""

    def __init__(self, window=(2, 7, 7)):
        super().__init__()
        layers = {
            "Conv3d_1a_7x7": Unit(3, 64, 7, 2), "MaxPool3d_2a_3x3": pool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Unit(64, 64), "Conv3d_2c_3x3": Unit(64, 192, 3),
            "MaxPool3d_3a_3x3": pool((1, 3, 3), (1, 2, 2)),
            "Mixed_3b": Inception(192, (64, 96, 128, 16, 32, 32)),
            "Mixed_3c": Inception(256, (128, 128, 192, 32, 96, 64)),
            "MaxPool3d_4a_3x3": pool((3, 3, 3), (2, 2, 2)),
            "Mixed_4b": Inception(480, (192, 96, 208, 16, 48, 64)),
            "Mixed_4c": Inception(512, (160, 112, 224, 24, 64, 64)),
            "Mixed_4d": Inception(512, (128, 128, 256, 24, 64, 64)),
            "Mixed_4e": Inception(512, (112, 144, 288, 32, 64, 64)),
            "Mixed_4f": Inception(528, (256, 160, 320, 32, 128, 128)),
            "MaxPool3d_5a_2x2": pool((2, 2, 2), (2, 2, 2)),
            "Mixed_5b": Inception(832, (256, 160, 320, 32, 128, 128)),
            "Mixed_5c": Inception(832, (384, 192, 384, 48, 128, 128)),
        }
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.layers = list(layers)
        self.average = nn.AvgPool3d(window, 1)
        self.logits = Unit(1024, 400, plain=True)

    def forward(self, x):
        for name in self.layers:
            x = getattr(self, name)(x)
        return self.logits(self.average(x)).squeeze(4).squeeze(3)  # (B, 400, T)


class TorchC3D(nn.Module):
    """TGANv2's C3D; poolings keep what is left over at the far edge."""

    def __init__(self, widths, hidden, num_classes, features):
        super().__init__()
        names = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
        for name, inputs, outputs in zip(names, (3, *widths), widths):
            self.add_module(name, nn.Conv3d(inputs, outputs, 3, padding=1))
        self.fc6, self.fc7 = nn.Linear(features, hidden), nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, num_classes)
        self.names = names

    def forward(self, x):
        for name in self.names:
            x = F.relu(getattr(self, name)(x))
            if name in ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b"):
                x = F.max_pool3d(x, (1, 2, 2) if name == "conv1a" else 2, ceil_mode=True)
        x = F.relu(self.fc6(x.flatten(1)))
        return self.fc8(F.relu(self.fc7(x)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if self.downsample else x))


class TorchResNet50(nn.Module):
    """torchvision's ResNet-50."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            layers = []
            for block in range(blocks):
                layers.append(Bottleneck(inputs, 64 * 2**stage, 2 if stage and not block else 1))
                inputs = 256 * 2**stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))
