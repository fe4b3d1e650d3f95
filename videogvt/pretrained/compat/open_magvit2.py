"""Open-MAGVIT2's video tokenizer (arXiv 2409.04410): MAGVIT-v2's causal network, trained on UCF-101 at 128 px.

    VideoTokenizer.load("open_magvit2:ucf101_lfqgan_128_262144.ckpt")   # extra "bench" has PyTorch
    VideoTokenizer.load("open_magvit2:weights.safetensors")             # extra "weights"; the entry "state_dict" of it

The file is a checkpoint of PyTorch Lightning. Its "state_dict" has the network, its moving average (the names without
their dots after "model_ema."), and what it was trained with. The average is taken unless ``weights`` is "params"; all
that is not taken is known by name (``OTHERS``), or the file is refused. Sizes of the network are read from the shapes,
so that checkpoints of smaller ones load too.
"""

import itertools
import logging
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from videogvt.core.trees import frozen
from videogvt.nn import state_dicts
from videogvt.nn.quantizers.fsq import MAX_BITS
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.pretrained.compat import StoredTokenizer

_FILE = "ucf101_lfqgan_128_262144.ckpt"
NETWORK = "Open-MAGVIT2's video tokenizer"
ADVICE = (f"The public file is {_FILE} (2.83 GB, also called video_128_262144.ckpt), of the model repository "
          "TencentARC/Open-MAGVIT2-Tokenizer-262144-Video; docs/Open-MAGVIT2.md of the project TencentARC/SEED-Voken "
          "on GitHub links to it. Its licence is stated there.")

_FRAMES = 17
"""Of the clips it was trained on."""

COMMON = {
    "conv": "causal", "padding": "zero", "norm_groups": 32, "norm_scope": "clip", "input_bias": 0.5, "input_scale": 2.0,
    "output_bias": 0.5, "output_scale": 0.5,
}
"""Fields that no shape tells. Videos are in [-1, 1] there; the norms are over the clip, through which every frame sees
all others."""

AVERAGE = "model_ema."
_COUNTERS = (f"{AVERAGE}decay", f"{AVERAGE}num_updates")

OTHERS = {
    "discriminator": r"loss\.discriminator\.main\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)",
    "average of the discriminator": rf"{re.escape(AVERAGE)}lossdiscriminatormain\d+(weight|bias)",
    "perceptual network": r"loss\.perceptual_loss\.(scaling_layer\.(shift|scale)|net\.slice[1-5]\.\d+\.(weight|bias)"
                          r"|lin[0-4]\.model\.\d\.weight)",
    "counters of the average": "|".join(map(re.escape, _COUNTERS)),
    "tables of the quantizer": r"quantize\.(mask|zero|codebook)",
}
"""What a file may hold besides the network and its average, and patterns of the names."""

_MAX_LEVELS, _MAX_BLOCKS = 8, 32

ENDS = {"encoder": {"Conv_0": "conv_in.conv_1", "GroupNorm_0": "norm_out", "Conv_1": "conv_out.conv_1"},
        "decoder": {"Conv_0": "conv_in.conv_1", "GroupNorm_0": "norm_out"}}
_BLOCK = {"GroupNorm_0": "norm1", "Conv_0": "conv1.conv_1", "GroupNorm_1": "norm2", "Conv_1": "conv2.conv_1",
         "Conv_2": "nin_shortcut.conv_1"}


def networks(path: pathlib.Path, weights: str) -> dict[str, Any]:
    """The parameters, under the name that a run gives the network."""
    return {"generator": tokenizer(path, weights).params}


def tokenizer(path: pathlib.Path, weights: str) -> StoredTokenizer:
    """The tokenizer of a .ckpt or .safetensors file.

    Args:
      weights: "ema" for the moving average, or what is trained where the file has none; "params" for what is trained.

    Raises:
      FileNotFoundError: there is no such file.
      ModuleNotFoundError: the package that reads it is missing.
      ValueError: it holds something else, too little, or a tensor that nobody knows; names are in the message.
    """
    state_dict = state_dicts.read_state_dict(str(path), ADVICE)
    averaged = weights == "ema" and any(name.startswith(AVERAGE) and name not in _COUNTERS for name in state_dict)
    stored_name = average_name if averaged else str
    try:
        return _tokenizer(state_dict, stored_name)
    except ValueError as error:
        image = "encoder.conv_in.weight" in state_dict
        hint = " They look like those of Open-MAGVIT2's image tokenizer." if image else ""
        raise ValueError(f"{path}: {error}{hint} {ADVICE}") from error


def _tokenizer(state_dict: Mapping[str, Any], stored_name: Callable[[str], str]) -> StoredTokenizer:
    config = config_of({name: value.shape for name, value in state_dict.items()}, stored_name)
    model = TokenizerNetwork(**frozen(config))
    shape = (1, *model.fitting((1, 1, 1)), 3)
    params = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))["params"]
    sizes = len(config["channel_multipliers"]), config["encoder_blocks"]
    names = {path: theirs(path, *sizes) for path in flatten_dict(params)}
    other_name = str if stored_name is average_name else average_name
    left = {name: group(name) for name in state_dict} | {
        other_name(name): "the other set of weights" for name in names.values()}
    params = state_dicts.convert(model, shape, state_dict, NETWORK, name=lambda path: stored_name(names[path]),
                                 spare=[name for name, kind in left.items() if kind])
    if counters := [name for name in state_dict if name.endswith(state_dicts.COUNTERS) and not left[name]]:
        raise ValueError(f"These are not the weights of {NETWORK}: {counters[0]} is unknown.")
    logging.info("%s: %d tensors, %s; left out are %s.", NETWORK, len(names),
                 "averaged" if stored_name is average_name else "as trained",
                 dict(Counter(left[name] for name in state_dict if left[name])))
    return StoredTokenizer(config, params, window=_FRAMES)


def config_of(shapes: Mapping[str, tuple[int, ...]], stored_name: Callable[[str], str] = str) -> dict[str, Any]:
    """The fields of ``nn.tokenizer.TokenizerNetwork``, plain values, from the shapes of a state dict.

    Args:
      stored_name: from a tensor's name in the network to its name among the shapes.

    Raises:
      ValueError: they are of no such network; the first tensor that is missing or of another shape is named.
    """
    def convolution(name: str) -> tuple[int, ...]:
        name = stored_name(f"encoder.{name}.conv_1.weight")
        if len(shapes.get(name, ())) != 5:
            raise ValueError(f"These are not the weights of {NETWORK}: {name}: {shapes.get(name, 'missing')}, expected "
                             "a convolution's five sizes.")
        return shapes[name]

    def count(name: str, most: int) -> int:
        found = itertools.takewhile(lambda n: stored_name(f"encoder.{name.format(n)}") in shapes, range(most))
        return sum(1 for _ in found)

    filters, bits = convolution("conv_in")[0], convolution("conv_out")[0]
    levels = count("down.{}.block.0.norm1.weight", _MAX_LEVELS)
    widths = [convolution(f"down.{level}.block.0.conv1")[0] for level in range(levels)]
    odd = not filters or not widths or any(width < filters or width % filters for width in widths)
    if odd or not 1 <= bits <= MAX_BITS:
        raise ValueError(f"These are not the weights of {NETWORK}: found widths {widths} of {filters} filters and "
                         f"{bits} bits, expected multiples of the filters and 1 to {MAX_BITS} bits.")
    multipliers = [width // filters for width in widths]
    blocks = count("down.0.block.{}.norm1.weight", _MAX_BLOCKS)
    return {
        **COMMON, "filters": filters, "channel_multipliers": multipliers, "encoder_blocks": blocks,
        "decoder_blocks": blocks, "temporal_downsample": [multiplier != 1 for multiplier in multipliers[:-1]],
        "quantizer": {"name": "lfq", "num_bits": bits, "first_bit": "highest"},
    }


def theirs(path: Sequence[str], levels: int, blocks: int) -> str:
    """Open-MAGVIT2's name of a parameter.

    Args:
      path: of ours, such as ("encoder", "ResBlock_0", "Conv_0", "kernel").
      levels, blocks: of resolution, and residual blocks of each, and at last of the latents.
    """
    side, module, *inner, leaf = path
    kind, number = module.rsplit("_", 1)
    number = int(number)
    if kind == "ResBlock":
        name = f"{_block(side, number, levels, blocks)}.{_BLOCK[inner[0]]}"
    elif kind == "AdaptiveGroupNorm":
        name = f"adaptive.{number}.{inner[0]}"
    elif kind == "Down":
        name = f"down.{number}.downsample.conv_1"
    elif kind == "Up":
        name = f"up.{number}.upsample.conv1.conv_1"
    else:
        name = ENDS[side].get(module, "conv_out.conv_1")
    return state_dicts.torch_name((side, name, leaf))


def _block(side: str, number: int, levels: int, blocks: int) -> str:
    """Where a residual block stands, by the order in which blocks are called."""
    if side == "encoder":
        level, place = divmod(number, blocks)
        return f"down.{level}.block.{place}" if level < levels else f"mid_block.{place}"
    step, place = divmod(number, blocks)
    return f"up.{levels - step}.block.{place}" if step else f"mid_block.{place}"


def average_name(name: str) -> str:
    """The name that the moving average of a tensor has."""
    return AVERAGE + name.replace(".", "")


def group(name: str) -> str | None:
    """What a tensor belongs to that is not the network's; None where nobody knows."""
    return next((kind for kind, pattern in OTHERS.items() if re.fullmatch(pattern, name)), None)
