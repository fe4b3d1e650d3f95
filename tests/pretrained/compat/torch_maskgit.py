"""MaskGIT's tokenizer and transformer in PyTorch, on weights under the names of its files."""

import math

import torch
import torch.nn.functional as F


class Weights:
    """The arrays below a name, as tensors."""

    def __init__(self, leaves, prefix=""):
        self.leaves, self.prefix = leaves, prefix

    def __truediv__(self, name):
        return Weights(self.leaves, f"{self.prefix}{name}/")

    def __contains__(self, name):
        return any(path.startswith(f"{self.prefix}{name}/") for path in self.leaves)

    def __getitem__(self, name):
        return torch.from_numpy(self.leaves[self.prefix + name].copy())


def conv(x_NCHW, weights):
    kernel = weights["kernel"].permute(3, 2, 0, 1)
    bias = weights["bias"] if weights.prefix + "bias" in weights.leaves else None
    return F.conv2d(x_NCHW, kernel, bias, padding=kernel.shape[-1] // 2)


def norm_swish(x_NCHW, weights):
    return F.silu(F.group_norm(x_NCHW, 32, weights["scale"], weights["bias"], eps=1e-6))


def block(x_NCHW, weights):
    made = conv(norm_swish(x_NCHW, weights / "GroupNorm_0"), weights / "Conv_0")
    made = conv(norm_swish(made, weights / "GroupNorm_1"), weights / "Conv_1")
    return made + (conv(made, weights / "Conv_2") if "Conv_2" in weights else x_NCHW)


def blocks(x_NCHW, weights, numbers):
    for number in numbers:
        x_NCHW = block(x_NCHW, weights / f"ResBlock_{number}")
    return x_NCHW


def latents(pictures_NHWC, leaves, levels):
    """(N, h, w, D) of pictures in [0, 1]."""
    weights = Weights(leaves) / "encoder"
    x = conv(torch.from_numpy(pictures_NHWC).permute(0, 3, 1, 2), weights / "Conv_0")
    for level in range(levels):
        x = blocks(x, weights, (2 * level, 2 * level + 1))
        x = F.avg_pool2d(x, 2) if level < levels - 1 else x
    x = blocks(x, weights, (2 * levels, 2 * levels + 1))
    return conv(norm_swish(x, weights / "GroupNorm_0"), weights / "Conv_1").permute(0, 2, 3, 1)


def pictures(latents_NhwD, leaves, levels):
    """(N, H, W, 3), unclipped, of latents."""
    weights = Weights(leaves) / "decoder"
    x = blocks(conv(latents_NhwD.permute(0, 3, 1, 2), weights / "Conv_0"), weights, (0, 1))
    for step in range(levels):
        x = blocks(x, weights, (2 * step + 2, 2 * step + 3))
        if step < levels - 1:
            x = conv(F.interpolate(x, scale_factor=2, mode="nearest"), weights / f"Conv_{step + 1}")
    return conv(norm_swish(x, weights / "GroupNorm_0"), weights / f"Conv_{levels}").permute(0, 2, 3, 1)


def norm(x, weights):
    return F.layer_norm(x, x.shape[-1:], weights["scale"], weights["bias"], eps=1e-12)


def linear(x, weights):
    return x @ weights["kernel"] + weights["bias"]


def attention(x_BLD, weights, heads):
    batch, length, width = x_BLD.shape

    def by_head(name):
        kernel, bias = (weights / name)["kernel"].reshape(width, -1), (weights / name)["bias"].reshape(-1)
        return (x_BLD @ kernel + bias).reshape(batch, length, heads, -1).transpose(1, 2)

    query, key, value = map(by_head, ("query", "key", "value"))
    seen = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(width // heads), dim=-1)
    mixed = (seen @ value).transpose(1, 2).reshape(batch, length, width)
    return mixed @ (weights / "out")["kernel"].reshape(width, width) + (weights / "out")["bias"]


def logits(tokens_BL, leaves, layers, heads):
    """(B, L, V) of tokens."""
    weights = Weights(leaves)
    words = (weights / "Embed_0" / "word_embeddings")["embedding"]
    places = (weights / "Embed_0" / "position_embeddings")["embedding"]
    x = norm(words[torch.from_numpy(tokens_BL).long()] + places, weights / "Embed_0" / "embeddings_ln")
    for number in range(layers):
        layer = weights / f"TransformerLayer_{number}"
        part = layer / "Attention_0"
        x = norm(x + attention(x, part / "self_attention", heads), part / "attention_output_ln")
        part = layer / "Mlp_0"
        made = linear(F.gelu(linear(x, part / "intermediate_output"), approximate="tanh"), part / "layer_output")
        x = norm(x + made, part / "layer_output_ln")
    head = weights / "MlmLayer_0"
    x = norm(F.gelu(linear(x, head / "mlm_dense"), approximate="tanh"), head / "mlm_ln")
    return x @ words.T + (head / "mlm_bias")["bias"]
