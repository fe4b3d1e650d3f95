"""Google's MaskGIT (arXiv 2202.04200): the tokenizers and transformers of ImageNet that were released, 256 and 512 px.

    VideoTokenizer.load("maskgit:tokenizer_imagenet256_checkpoint")
    VideoGenerator.load("maskgit:maskgit_imagenet256_checkpoint")      # its tokenizer's file lies beside it

The files are msgpack, ``{"params": ...}``. The tokenizer is MAGVIT's per-frame network with one difference,
``shortcut="output"``; the transformer is MAGVIT's under other names (``_NAMES``), with a vocabulary of 1,024 codes,
1,000 classes and the mask, and no token for no class. Pictures are clips of one frame. Classes are ImageNet's by
number.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from videogvt.core.arrays import Damaged
from videogvt.core.trees import frozen
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer
from videogvt.pretrained.compat import StoredGenerator, StoredTokenizer
from videogvt.pretrained.compat.msgpack import read_msgpack
from videogvt.pretrained.compat.trees import fitted, flat_arrays, tokenizer_shapes, transformer_shapes

TOKENIZER = {
    "conv": "2d", "filters": 128, "channel_multipliers": [1, 1, 2, 2, 4], "temporal_downsample": [False] * 4,
    "encoder_blocks": 2, "decoder_blocks": 2, "padding": "zero", "norm_groups": 32, "shortcut": "output",
    "quantizer": {"name": "vq", "num_codes": 1024, "embedding_dim": 256},
}
"""54,515,587 parameters, for both sizes; a code stands for 16 x 16 pixels."""

TRANSFORMER = {"layers": 24, "hidden": 768, "heads": 16, "mlp": 3072}
"""172,457,193 parameters at 256 px; 589,824 more at 512 px, for the places of 768 more codes."""

CLASSES = 1000
_DECODING = {"steps": 16, "choice_temperature": 4.5}
"""What the released demonstration generates with; the paper takes 8 steps at 256 px and 12 at 512 px."""

_NAMES = {"BertEmbed_0": "Embed_0", "BertLayer_": "TransformerLayer_", "BertAttention_0": "Attention_0",
         "BertMlp_0": "Mlp_0", "BertMlmLayer_0": "MlmLayer_0"}
"""Our names of the transformer's modules, or their beginnings, and MaskGIT's; all other names are the same."""

FILES = {
    "tokenizer_imagenet256_checkpoint": 218, "tokenizer_imagenet512_checkpoint": 218,
    "maskgit_imagenet256_checkpoint": 690, "maskgit_imagenet512_checkpoint": 692,
}
"""Public names, and sizes in millions of bytes: four for each parameter."""

LARGEST = 2 * 4 * 173_047_017 + 2**20
"""Bytes of a file that may be one of these: float64 in place of float32, and as much again as names take."""


def networks(path: pathlib.Path, weights: str) -> dict[str, Any]:
    """The parameters by the name that a run gives the network, "generator" for a tokenizer or "transformer"."""
    del weights  # there is one set
    params = _read(path)
    if "TransformerLayer_0" in params:
        return {"transformer": _transformer(path, params)[1]}
    return {"generator": _tokenizer(path, params)}


def tokenizer(path: pathlib.Path, weights: str) -> StoredTokenizer:
    """The tokenizer of a file; every picture is seen by itself."""
    found = networks(path, weights)
    if "generator" not in found:
        raise ValueError(f"{path} holds a transformer, which is no tokenizer; load it with VideoGenerator.load.")
    return StoredTokenizer(TOKENIZER, found["generator"], window=1)


def generator(path: pathlib.Path, weights: str) -> StoredGenerator:
    """The transformer of a file; the tokenizer is the file beside it with "tokenizer" for "maskgit" in its name."""
    del weights
    params = _read(path)
    if "TransformerLayer_0" not in params:
        raise ValueError(f"{path} holds no transformer; load a tokenizer with VideoTokenizer.load.")
    side, params = _transformer(path, params)
    config = {
        "name": path.name, "recipe": "transformer", "transformer": TRANSFORMER, "decoding": _DECODING, "data": None,
        "tasks": {"names": ["CG"], "classless": False}, "losses": {},
    }
    beside = path.with_name(path.name.replace("maskgit", "tokenizer", 1))
    classes = [str(number) for number in range(CLASSES)]
    return StoredGenerator(config, params, None if beside == path else f"maskgit:{beside}", classes, (1, side, side),
                           TOKENIZER["quantizer"]["num_codes"])


def _read(path: pathlib.Path) -> Mapping[str, Any]:
    """The tree under "params"."""
    if not path.is_file():
        names = ", ".join(f"{name} (about {size} MB)" for name, size in FILES.items())
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. MaskGIT's are {names}; the README of google-research/maskgit on GitHub "
            "links to them. Its code is under Apache-2.0, and no licence of the weights is stated: whether you may use "
            "them is yours to find out.")
    expected = f"Expected one of {', '.join(FILES)}, as it was downloaded."
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes, more than any file of MaskGIT. {expected}")
    try:
        tree = read_msgpack(path)
    except Damaged as error:
        raise ValueError(f"{path} is damaged, or no file of MaskGIT: {error}. {expected}") from error
    others = [name for name in flat_arrays(tree) if not name.startswith("params/")]
    if others or not isinstance(tree.get("params"), dict):
        raise ValueError(f"{path} holds {', '.join(others[:5]) or 'nothing'}, and not all below 'params'. {expected}")
    return tree["params"]


def _tokenizer(path: pathlib.Path, params: Mapping[str, Any]) -> dict[str, Any]:
    model = TokenizerNetwork(**frozen(TOKENIZER))
    return fitted(flat_arrays(params), tokenizer_shapes(model), path, "MaskGIT's tokenizer")


def _transformer(path: pathlib.Path, params: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Rows of codes in a picture, and the parameters under our names."""
    given = flat_arrays(params)
    places = given.get("Embed_0/position_embeddings/embedding")
    side = 32 if getattr(places, "shape", ())[:1] == (1 + 32**2,) else 16
    vocabulary = TOKENIZER["quantizer"]["num_codes"] + CLASSES + 1
    model = MaskedTransformer(vocab_size=vocabulary, sequence_length=1 + side**2, **TRANSFORMER)
    wanted = transformer_shapes(model)
    return side, fitted(given, wanted, path, "MaskGIT's transformer", _theirs)


def _theirs(path: str) -> str:
    """MaskGIT's name of a parameter of ours."""
    for ours, theirs in _NAMES.items():
        path = path.replace(ours, theirs)
    return path
