"""Trained tokenizers: loaded from a run or shipped with the package, used on whole videos, exported, and put to work.

    from videogvt.pretrained import VideoTokenizer
    tokenizer = VideoTokenizer.load("runs/vqvae_traj")

Every folder beside these files that holds a ``weights.npz`` is a tokenizer that can be loaded by the folder's name.
"""

from videogvt.pretrained.bundle import shipped
from videogvt.pretrained.tokenizer import VideoTokenizer

__all__ = ["VideoTokenizer", "shipped"]
