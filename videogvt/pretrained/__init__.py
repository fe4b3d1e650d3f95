"""Trained tokenizers and generators: loaded from a run or shipped with the package, used, exported, and put to work.

    from videogvt.pretrained import VideoGenerator, VideoTokenizer
    tokenizer = VideoTokenizer.load("runs/vqvae_traj")
    generator = VideoGenerator.load("runs/maskgvt_traj")

Every folder beside these files that holds a ``weights.npz`` can be loaded by the folder's name.
"""

from videogvt.pretrained.bundle import shipped
from videogvt.pretrained.generator import VideoGenerator
from videogvt.pretrained.tokenizer import VideoTokenizer

__all__ = ["VideoGenerator", "VideoTokenizer", "shipped"]
