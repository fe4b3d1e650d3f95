"""What a tokenizer's decoder makes of each code by itself: pictures of codes, and vectors that say how alike they look.

The vector of a code says to the tokenizer's own decoder where in its cell something stands; to a network that learns
from few labels it does not. Codes that draw much the same in much the same place have pictures that overlap once they
are blurred, so that the principal components of blurred pictures put like codes side by side. Nothing here knows what
a clip shows; labels have no part in it.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from videogvt.pretrained.tokenizer import VideoTokenizer

PARTS = 4
"""A code's picture has its cell and, on all four sides, a margin of so many parts of a cell's side, for decoders draw
across borders; it is blurred by a Gaussian whose deviation is as wide."""


def code_pictures(tokenizer: VideoTokenizer, blank: int) -> np.ndarray:
    """How the decoded clip of three blank cells a side changes where the cell in its middle has another code.

    Args:
      tokenizer: of the codes.
      blank: the code of cells that show nothing, see ``pretrained.codes.most_frequent_code``.

    Returns:
      Float32 (K, frames of a cell, rows, columns, 3), differences of values in [0, 1]: the cell with its margin.
    """
    codes_K333 = np.full((tokenizer.num_codes, 3, 3, 3), blank, np.int32)
    codes_K333[:, 1, 1, 1] = np.arange(tokenizer.num_codes)
    frames, rows, columns = (slice(side - margin, 2 * side + margin) for side, margin in zip(
        tokenizer.strides, (0, *(side // PARTS for side in tokenizer.strides[1:]))))
    changed_KTHWC = tokenizer.video(codes_K333)[:, frames, rows, columns]
    return changed_KTHWC - changed_KTHWC[blank]


def look_vectors(tokenizer: VideoTokenizer, blank: int, components: int = 32) -> np.ndarray:
    """Vectors (K, up to ``components``) of codes, float32, that are near each other where codes look alike.

    Principal components of how much each pixel of a code's picture changes, blurred. Arguments as ``code_pictures``.
    """
    change_KTHW = np.abs(code_pictures(tokenizer, blank)).sum(-1)
    blur = [side / PARTS for side in tokenizer.strides[1:]]
    flat_KD = gaussian_filter(change_KTHW, (0, 0, *blur), mode="constant").reshape(len(change_KTHW), -1)
    return PCA(min(components, *flat_KD.shape), svd_solver="full").fit_transform(flat_KD).astype(np.float32)
