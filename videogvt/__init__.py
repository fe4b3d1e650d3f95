"""videogvt: MAGVIT in JAX and Flax, proved on 3-D trajectory videos.

Legend of the letters that end array names (``video_BTHWC``, ``codes_Bthw``):

====  ==========================================  ====  ===============================
B     clips in a batch                            L     sequence length, prefix + N
T     frames of a clip                            D     width of a code or of a layer
H, W  height and width in pixels                  A     attention heads
C     colour channels or features                 K     number of codes
t     latent frames                               V     vocabulary, codes + extra ids
h, w  latent rows and columns                     S     cameras (views) of one scene
N     tokens of a clip, t * h * w
====  ==========================================  ====  ===============================
"""

import importlib

__version__ = "0.1.0"


def __getattr__(name: str):
    """``VideoTokenizer`` and ``VideoGenerator``, which load jax, are imported when they are asked for, and so are
    ``read_clip`` and ``write_clip``."""
    if name in ("VideoTokenizer", "VideoGenerator", "read_clip", "write_clip"):
        return getattr(importlib.import_module("videogvt.pretrained"), name)
    raise AttributeError(f"module 'videogvt' has no attribute {name!r}")
