"""The networks that are measured, as plain values: sections of the shipped configs, which ``refresh`` writes."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

HOME = pathlib.Path(__file__).parent
SECTIONS, LOSSES = HOME / "sections.json", HOME / "cpu_losses.json"
Settings = Mapping[str, Any]

SMALL_TOKENIZER = {
    "filters": 4, "channel_multipliers": [1, 2], "temporal_downsample": [True], "encoder_blocks": [1, 0, 0],
    "decoder_blocks": [0, 1, 0], "norm_groups": 2,
    "quantizer": {"name": "vq", "num_codes": 16, "embedding_dim": 4, "entropy_weight": 0.1},
}
SMALL_TRANSFORMER = {"layers": 1, "hidden": 16, "heads": 2, "mlp": 32}


def load(name: str, dry_run: bool = False) -> dict[str, Any]:
    """The settings of "tokenizer B", "transformer L", "default tokenizer", ...

    Args:
      name: of a network in ``sections.json``.
      dry_run: whether sizes shall be tiny: of the defaults the ``tiny`` variants of their configs, of the paper's
        networks the same kinds of layers, few and narrow, on clips of a few pixels.
    """
    if dry_run and name.startswith("default"):
        return load(name.replace("default", "tiny"))
    settings = json.loads(SECTIONS.read_text())[name]
    return _shrunk(settings) if dry_run else settings


def digest(section: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that change with a section."""
    return hashlib.sha256(json.dumps(section, sort_keys=True).encode()).hexdigest()[:16]


def _shrunk(settings: Settings) -> dict[str, Any]:
    small = {**settings, "clip": [4, 16, 16], "batch_size": 2}
    if "transformer" in settings:
        return small | {"network": settings["network"] | SMALL_TOKENIZER,
                        "transformer": settings["transformer"] | SMALL_TRANSFORMER}
    judge = settings["discriminator"] | {"filters": 4, "channel_multipliers": [2]}
    return small | {"tokenizer": settings["tokenizer"] | SMALL_TOKENIZER, "discriminator": judge}
