"""Trees that MAGVIT's official code writes (arXiv 2212.05199): its weights were never released, but people train it.

    VideoTokenizer.load("magvit:DIR/checkpoint_100000")
    VideoGenerator.load("magvit:DIR/checkpoint_74000", tokenizer="magvit:DIR/checkpoint_100000")

A checkpoint is a msgpack file or an Orbax folder, of training states of either stage, of the older states with
``g_optimizer``, of ``{"params": ...}`` or of parameters alone; one copy, or one for each device. Names are those of
this package. The networks' fields follow from the shapes; what no shape tells is as in the released configs: zeros
around convolutions, time halved at the first two steps to coarser levels, grids of 4 x 16 x 16 codes.
"""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogvt.core.arrays import Damaged
from videogvt.core.trees import frozen
from videogvt.models.vocabulary import Vocabulary
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer
from videogvt.pretrained.compat import StoredGenerator, StoredTokenizer
from videogvt.pretrained.compat.msgpack import read_msgpack
from videogvt.pretrained.compat.orbax import is_orbax, read_orbax
from videogvt.pretrained.compat.trees import Shapes, fitted, flat_arrays, tokenizer_shapes, transformer_shapes

STATE = ("global_step", "g_params", "d_params", "ema_params", "g_opt_state", "d_opt_state", "g_model_state",
         "d_model_state", "g_optimizer", "d_optimizer", "generator_state", "discriminator_state", "params", "optimizer",
         "opt_state", "model_state", "rng", "metadata", "accum_train_time")
"""Fields of training states: of the tokenizer's, its older one, and the transformer's."""

HOMES = {
    "params": (("g_params",), ("g_optimizer", "target"), ("params",), ("optimizer", "target"), ()),
    "ema": (("ema_params",), ("g_params",), ("g_optimizer", "target"), ("params",), ("optimizer", "target"), ()),
}
"""Where a stage's network is, the first that is there; of discriminators see ``JUDGES``."""

JUDGES = (("d_params",), ("d_optimizer", "target"))
_PARTS = ("encoder", "decoder", "quantizer")
GRID = (4, 16, 16)
_MAX_LEVELS, _MAX_BLOCKS, MAX_LAYERS = 8, 64, 128
CODES = (1024, 4096)
"""Of the paper's B and L, and of H."""

MAGVIT_TASKS = ("FP", "FI", "OPC", "OPV", "OPH", "OPD", "IPC", "IPD")
_DECODING = {"steps": 12, "choice_temperature": 4.5}


def networks(path: pathlib.Path, weights: str) -> dict[str, Any]:
    """Parameters by the name that a run gives the network: "generator" and, where there is one, "discriminator", or
    "transformer". They are as they stand in the file: whom they fit, inflation or its refusal finds out."""
    tree = _read(path)
    leaves = _single(path, _network(path, tree, HOMES[weights]))
    name = "transformer" if _is_transformer(leaves) else "generator"
    found = {name: leaves}
    judge = next((part for home in JUDGES if (part := _at(tree, home))), None)
    if judge is not None:
        found["discriminator"] = _single(path, flat_arrays(judge))
    return {name: fitted(part, {one: leaf.shape for one, leaf in part.items()}, path, f"a {name}")
            for name, part in found.items()}


def tokenizer(path: pathlib.Path, weights: str) -> StoredTokenizer:
    """The tokenizer of a checkpoint; "ema" is its moving average, or the parameters where it has none."""
    leaves = _single(path, _network(path, _read(path), HOMES[weights]))
    if _is_transformer(leaves):
        raise ValueError(f"{path} holds a transformer, which is no tokenizer; load it with VideoGenerator.load.")
    fields = _tokenizer_fields(path, {name: leaf.shape for name, leaf in leaves.items()})
    wanted = tokenizer_shapes(TokenizerNetwork(**frozen(fields)))
    return StoredTokenizer(fields, fitted(leaves, wanted, path, "MAGVIT's tokenizer"))


def generator(path: pathlib.Path, weights: str) -> StoredGenerator:
    """The transformer of a checkpoint, for the tasks that its vocabulary is for: by class, or MAGVIT's for BAIR."""
    leaves = _single(path, _network(path, _read(path), HOMES[weights]))
    if not _is_transformer(leaves):
        raise ValueError(f"{path} holds no transformer; load a tokenizer with VideoTokenizer.load.")
    shapes = {name: leaf.shape for name, leaf in leaves.items()}
    fields, vocabulary = _transformer_fields(path, shapes)
    length = vocabulary.prefix_length + int(np.prod(GRID))
    model = MaskedTransformer(vocab_size=vocabulary.size, sequence_length=length, **fields)
    params = fitted(leaves, transformer_shapes(model), path, "MAGVIT's transformer")
    by_class = vocabulary.num_classes > 0
    names = ("CG",) if by_class else ("FP",)
    if vocabulary.multitask:
        names = (*MAGVIT_TASKS, "CG", "CFP") if by_class else MAGVIT_TASKS
    tasks = {"names": list(names), "multitask": vocabulary.multitask, "rule": "released", "released_prefix": True}
    config = {"name": path.name, "recipe": "transformer", "transformer": fields, "decoding": _DECODING, "data": None,
              "tasks": tasks, "losses": {}}
    classes = [str(number) for number in range(vocabulary.num_classes)]
    return StoredGenerator(config, params, None, classes, GRID, vocabulary.num_codes)


def _read(path: pathlib.Path) -> Mapping[str, Any]:
    """The tree of a checkpoint, without the states of optimizers where that can be."""
    if not path.exists():
        raise FileNotFoundError(
            f"There is no checkpoint {str(path)!r}. Expected a file or folder checkpoint_<step> that MAGVIT's official "
            "code wrote; its authors have released none.")
    if path.is_dir() and not is_orbax(path):
        there = ", ".join(sorted(one.name for one in path.iterdir())[:10]) or "nothing"
        raise ValueError(f"{path} is a folder and no Orbax checkpoint, which has a file _METADATA, or an old one "
                         f"'checkpoint'. Name the file or folder of one step; there is {there}.")
    try:
        if path.is_dir():
            return read_orbax(path, _wanted)
        tree = read_msgpack(path)
        _wanted(tree)
        return tree
    except Damaged as error:
        raise ValueError(f"{path} is damaged, or no checkpoint of MAGVIT's: {error}.") from error


def _wanted(tree: Mapping[str, Any]) -> list[str]:
    """The names at the top of a tree that are read; an error where others have arrays."""
    bare = all(name in tree for name in _PARTS) or "BertEmbed_0" in tree
    others = [] if bare else [name for name in flat_arrays(tree) if name.partition("/")[0] not in STATE]
    if others:
        raise Damaged(f"it holds {', '.join(others[:5])}; the fields of MAGVIT's states are {', '.join(STATE)}")
    homes = {home[0] for home in (*HOMES["ema"], *HOMES["params"], *JUDGES) if home}
    return [name for name in tree if bare or name in homes]


def _at(tree: Mapping[str, Any], home: tuple[str, ...]) -> Mapping[str, Any] | None:
    """What is below a name; None where there are no arrays. Variables of Flax are their "params"."""
    for name in home:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    if isinstance(tree, Mapping) and set(tree) == {"params"}:
        tree = tree["params"]
    return tree if isinstance(tree, Mapping) and flat_arrays(tree) else None


def _network(path: pathlib.Path, tree: Mapping[str, Any], homes: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """The leaves of the first home that there is; a state is none itself."""
    homes = [home for home in homes if home or not set(tree) & set(STATE)]
    found = next((part for home in homes if (part := _at(tree, home)) is not None), None)
    if found is None:
        raise ValueError(f"{path} holds no parameters: expected {', '.join('/'.join(home) for home in homes if home)}, "
                         f"found {', '.join(map(str, tree)) or 'nothing'}.")
    return flat_arrays(found)


def _is_transformer(leaves: Mapping[str, Any]) -> bool:
    return any(name.startswith("BertEmbed_0/") for name in leaves)


def _single(path: pathlib.Path, leaves: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """One copy of leaves of which every device may have had its own; an error where copies differ."""
    leaves = {name: np.asarray(leaf) for name, leaf in leaves.items()}
    axes = [leaf.ndim for name, leaf in leaves.items() if name.rpartition("/")[2] in ("bias", "scale")
            and "self_attention" not in name]
    copies = {leaf.shape[:1] for leaf in leaves.values()}
    if not axes or min(axes) < 2 or len(copies) > 1 or copies & {(), (0,)}:
        return leaves
    for name, leaf in sorted(leaves.items()):
        if not np.array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape), equal_nan=True):
            raise ValueError(f"{path} has {len(leaf)} copies of each array, one a device, and those of {name} differ; "
                             "expected equal ones.")
    return {name: leaf[0] for name, leaf in leaves.items()}


def _known(path: pathlib.Path, shapes: Shapes, name: str, *axes: int) -> tuple[int, ...]:
    """The shape of a parameter that fields follow from; an error where it is none of so many axes."""
    found = shapes.get(name, "absent")
    if found == "absent" or len(found) not in axes or 0 in found:
        raise ValueError(f"{path} holds no network of MAGVIT's: {name} is {found}, expected "
                         f"{' or '.join(map(str, axes))} axes, none empty.")
    return found


def _tokenizer_fields(path: pathlib.Path, shapes: Shapes) -> dict[str, Any]:
    """Fields of ``nn.tokenizer.TokenizerNetwork`` that a tree's shapes tell."""
    codebook = _known(path, shapes, "quantizer/codebook", 2)
    kernel = _known(path, shapes, "encoder/Conv_0/kernel", 4, 5)
    levels = _count(shapes, "decoder/Conv_{}/kernel", _MAX_LEVELS + 1) - 1
    blocks = {part: _count(shapes, part + "/ResBlock_{}/Conv_0/kernel", _MAX_BLOCKS) for part in _PARTS[:2]}
    if levels < 1 or any(number % (levels + 1) for number in blocks.values()):
        raise ValueError(f"{path} holds no tokenizer of MAGVIT's: {blocks} residual blocks do not divide into "
                         f"{levels} levels and the extra ones.")
    each, filters = blocks["encoder"] // (levels + 1), kernel[-1]
    widths = [_known(path, shapes, f"encoder/ResBlock_{each * level}/Conv_0/kernel", 4, 5)[-1] if each else filters
              for level in range(levels)]
    return {
        "conv": "3d" if len(kernel) == 5 else "2d", "filters": filters, "padding": "zero", "norm_groups": 32,
        "channel_multipliers": [max(1, width // filters) for width in widths],
        "temporal_downsample": [True, True, *[False] * levels][: levels - 1],
        "encoder_blocks": each, "decoder_blocks": blocks["decoder"] // (levels + 1),
        "quantizer": {"name": "vq", "num_codes": codebook[0], "embedding_dim": codebook[1]},
    }


def _count(shapes: Shapes, name: str, most: int) -> int:
    """How many of the numbered names there are, from 0 on without a gap."""
    return next(number for number in itertools.count() if number > most or name.format(number) not in shapes)


def _transformer_fields(path: pathlib.Path, shapes: Shapes) -> tuple[dict[str, Any], Vocabulary]:
    """Fields of ``nn.transformer.MaskedTransformer`` that a tree's shapes tell, and its vocabulary."""
    tokens, hidden = _known(path, shapes, "BertEmbed_0/word_embeddings/embedding", 2)
    length = _known(path, shapes, "BertEmbed_0/position_embeddings/embedding", 2)[0]
    heads = _known(path, shapes, "BertLayer_0/BertAttention_0/self_attention/query/kernel", 3)[1]
    mlp = _known(path, shapes, "BertLayer_0/BertMlp_0/intermediate_output/kernel", 2)[1]
    prefix, codes = length - int(np.prod(GRID)), CODES[tokens > CODES[1]]
    special = {1: 2, 2: 17}.get(prefix)
    if special is None or tokens < codes + special:
        raise ValueError(f"{path} holds no transformer of MAGVIT's: {length} places and {tokens} tokens are those of "
                         f"no prefix, grid {GRID} and vocabulary of its.")
    fields = {"layers": _count(shapes, "BertLayer_{}/BertMlp_0/layer_output/bias", MAX_LAYERS), "hidden": hidden,
              "heads": heads, "mlp": mlp}
    if "BertEmbed_0/segment_embeddings/embedding" in shapes:
        fields["segment_embeddings"] = True
    return fields, Vocabulary(codes, tokens - codes - special, multitask=prefix == 2)
