"""Files of others' weights, with random numbers in them."""

import numpy as np
from flax import serialization
from flax.traverse_util import unflatten_dict

SMALL_TOKENIZER = {
    "conv": "2d", "filters": 64, "channel_multipliers": [1, 1, 2], "temporal_downsample": [False] * 2,
    "encoder_blocks": 2, "decoder_blocks": 2, "padding": "zero", "norm_groups": 32, "shortcut": "output",
    "quantizer": {"name": "vq", "num_codes": 32, "embedding_dim": 16},
}
"""MaskGIT's tokenizer with fewer channels, levels and codes."""

SMALL_TRANSFORMER = {"layers": 2, "hidden": 24, "heads": 4, "mlp": 48}


def random_leaves(shapes, seed=0):
    """Arrays by path: kernels scaled by their fan-in, codes as far apart as latents, norms and biases near 1 and 0."""
    rng = np.random.default_rng(seed)

    def draw(path, shape):
        noise, leaf = rng.normal(size=shape), path.rpartition("/")[2]
        if leaf == "kernel":
            heads = path.endswith(("query/kernel", "key/kernel", "value/kernel"))
            fan_in = shape[:1] if heads else shape[:-1]
            return noise / np.sqrt(np.prod(fan_in))
        if leaf == "codebook":
            return 0.7 * noise
        if leaf == "embedding":
            return noise / np.sqrt(shape[-1])  # so that logits are about 1
        return (leaf == "scale") + 0.1 * noise

    return {path: draw(path, shape).astype(np.float32) for path, shape in shapes.items()}


def write_msgpack(path, leaves):
    """The file of a tree; returns its path."""
    path.write_bytes(serialization.msgpack_serialize(unflatten_dict(leaves, sep="/")))
    return path
