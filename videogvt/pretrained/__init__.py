"""Trained tokenizers and generators: loaded from a run or shipped with the package, used, exported, and put to work.

    from videogvt.pretrained import VideoGenerator, VideoTokenizer
    tokenizer = VideoTokenizer.load("runs/vqvae_traj")
    generator = VideoGenerator.load("runs/maskgvt_traj")

Every folder beside these files that holds a ``weights.npz`` can be loaded by the folder's name.
"""

import importlib

_HOMES = {"VideoGenerator": "generator", "VideoTokenizer": "tokenizer", "read_clip": "clips",
          "shipped": "bundle", "write_clip": "clips"}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """What is listed above is imported when it is asked for: recipes need ``generation`` alone, and it needs neither
    checkpoints nor data sets."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
