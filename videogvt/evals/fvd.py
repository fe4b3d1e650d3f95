"""FVD (arXiv 1812.01717) and the video Inception Score (arXiv 1611.06624), as MAGVIT reports them (arXiv 2212.05199).

FVD is the Fréchet distance between logits of I3D, averaged over time; the score is exp(mean KL) of C3D's classes. Both
are the mean and the population std over folds of equal size of one run. Only these two networks make numbers that
may bear these names, so nothing else is accepted; the weights are the user's to download (docs/fvd.md).

Frames are resized as these networks were used with: both ways take the value at a place between two pixels as their
mean weighted by nearness, and differ in the place. "corner" is TensorFlow 1's, output pixel i lying at i * in / out (no
half-pixel shift, no antialiasing, the last pixel held beyond its centre); "aligned" puts the corner pixels of input and
output on each other, i * (in - 1) / (out - 1).
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, logsumexp

from videogvt.core.registry import unknown_name
from videogvt.nn import c3d as c3d_network
from videogvt.nn import i3d as i3d_network
from videogvt.nn.c3d import C3D, load_c3d
from videogvt.nn.i3d import I3D, load_i3d, require_frames
from videogvt.ops.quality import frechet_between
from videogvt.ops.video import as_float

_PLACES = ("corner", "aligned")
Places = Literal["corner", "aligned"]


def resize_bilinear(video_BTHWC, size: tuple[int, int], places: Places = "corner"):
    """Videos of any size as float32 (B, T, *size, C)."""
    if places not in _PLACES:
        raise ValueError(unknown_name("way of placing pixels", places, _PLACES))
    rows, columns = (_weights(old, new, places) for old, new in zip(video_BTHWC.shape[2:4], size, strict=True))
    video_BTHWC = video_BTHWC.astype(jnp.float32)
    return jnp.einsum("yh,bthwc,xw->btyxc", rows, video_BTHWC, columns, precision="highest")


def _weights(old: int, new: int, places: Places) -> np.ndarray:
    """What every input pixel gives to every output pixel along one axis, (new, old)."""
    scale = (old - 1) / (new - 1) if places == "aligned" and new > 1 else old / new
    places_N = np.arange(new) * scale
    left_N = np.minimum(np.floor(places_N).astype(int), old - 1)
    right_N = np.minimum(left_N + 1, old - 1)
    share_N = places_N - left_N
    weights = np.zeros((new, old), np.float32)
    np.add.at(weights, (np.arange(new), left_N), 1.0 - share_N)
    np.add.at(weights, (np.arange(new), right_N), share_N)
    return weights


@dataclasses.dataclass(frozen=True)
class Folded:
    """A figure over folds."""

    folds: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.folds))

    @property
    def std(self) -> float:
        """The population's std, 0 of a single fold."""
        return float(np.std(self.folds))


@dataclasses.dataclass(frozen=True)
class VideoNetwork:
    """A network with its weights, and how it wants to be shown videos.

    Attributes:
      forward: (params, video_BTHWC float32 in [0, 1]) -> logits (B, D).
      params: the weights.
      require_frames: raises ValueError for a number of frames that the network cannot take.
      facts: what is needed to repeat its figures.
    """

    forward: Callable[[Any, jax.Array], jax.Array]
    params: Any
    require_frames: Callable[[int], None]
    facts: Mapping[str, Any]

    @cached_property
    def _compiled(self):
        return jax.jit(lambda params, video: self.forward(params, as_float(video).astype(jnp.float32)))

    def __call__(self, video_BTHWC: np.ndarray, batch_size: int = 16) -> np.ndarray:
        """Logits (B, D), float32, of videos: uint8, or floats in [0, 1]."""
        if video_BTHWC.ndim != 5 or video_BTHWC.shape[-1] != 3 or not len(video_BTHWC):
            raise ValueError(f"Expected videos (B, T, H, W, 3), found the shape {video_BTHWC.shape}.")
        self.require_frames(video_BTHWC.shape[1])
        low, high = float(video_BTHWC.min()), float(video_BTHWC.max())
        if video_BTHWC.dtype != np.uint8 and not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"Expected uint8 videos, or floats in [0, 1]; found {video_BTHWC.dtype} in [{low}, "
                             f"{high}]. Clip what a decoder made before it is measured.")
        rows = []
        for start in range(0, len(video_BTHWC), batch_size):
            batch = np.asarray(video_BTHWC[start:start + batch_size])
            padded = np.resize(batch, (batch_size, *batch.shape[1:]))  # one shape, compiled once
            rows.append(np.asarray(self._compiled(self.params, padded))[:len(batch)])
        return np.concatenate(rows)


def i3d(weights: str | None, via: int | None = None, model: I3D = I3D()) -> VideoNetwork:
    """The network of FVD.

    Args:
      weights: file of pytorch-i3d's Kinetics-400 weights.
      via: size of a side that frames are brought to first, such as the 64 of Kinetics-600's protocol; or None.
    """
    size = i3d_network.FRAME_SIZE
    params = load_i3d(_named(weights, "FVD", i3d_network.I3D_FORMAT), model)
    forward = partial(_i3d_logits, model, via)
    return VideoNetwork(forward, params, require_frames, {
        "network": "I3D, Kinetics-400", "sha256": _digest(weights), "features": "logits averaged over time",
        "resize": f"bilinear, {f'{via} then ' if via else ''}{size}, no half-pixel shift, no antialiasing",
        "range": [-1, 1], "min_frames": i3d_network.MIN_FRAMES})


def c3d(weights: str | None, mean: str | None = None, model: C3D = C3D()) -> VideoNetwork:
    """The network of the video Inception Score.

    Args:
      weights: file of TGANv2's UCF-101 weights.
      mean: file of its mean clip, where the weights have no offset and it does not lie beside them as mean2.npz.
    """
    params = load_c3d(_named(weights, "The Inception Score", c3d_network.C3D_FORMAT), mean, model)

    def require_sixteen(frames: int) -> None:
        if frames != c3d_network.FRAMES:
            raise ValueError(f"The Inception Score's network, C3D, needs clips of {c3d_network.FRAMES} frames, found "
                             f"{frames}. Measure clips of {c3d_network.FRAMES} frames.")

    return VideoNetwork(partial(_c3d_logits, model), params, require_sixteen, {
        "network": "C3D, UCF-101", "sha256": _digest(weights), "features": "logits",
        "resize": f"bilinear, {model.frame_size}, aligned corners", "range": [0, 255], "channels": "BGR"})


def fvd(real_ND: np.ndarray, generated_MD: np.ndarray, *, folds: int = 4, shared_real: bool = False) -> Folded:
    """FVD from logits of I3D.

    Args:
      real_ND: of real clips: those whose labels or first frames the generated ones were given, in their order.
      generated_MD: of generated clips.
      folds: into how many parts of equal size, one after the other, both are cut.
      shared_real: whether every fold is compared with all real clips instead, as where 256 clips serve 100 times.
    """
    parts = _folds(generated_MD, folds)
    real = [real_ND] * folds if shared_real else _folds(real_ND, folds)
    return Folded(tuple(frechet_between(one, other) for one, other in zip(real, parts, strict=True)))


def inception_score(logits_ND: np.ndarray, *, folds: int = 4) -> Folded:
    """exp of the mean KL divergence of each clip's classes from those of its fold, from logits of C3D."""
    return Folded(tuple(_score(part) for part in _folds(logits_ND, folds)))


def _score(logits_ND: np.ndarray) -> float:
    log_ND = log_softmax(np.asarray(logits_ND, np.float64), axis=-1)
    log_marginal_D = logsumexp(log_ND, axis=0) - np.log(len(log_ND))
    return float(np.exp((np.exp(log_ND) * (log_ND - log_marginal_D)).sum(axis=-1).mean()))


def _folds(rows_ND: np.ndarray, folds: int) -> list[np.ndarray]:
    if folds < 1 or not len(rows_ND) or len(rows_ND) % folds:
        raise ValueError(f"{len(rows_ND)} clips cannot be cut into {folds} folds of equal size. Measure a multiple.")
    return np.split(np.asarray(rows_ND), folds)


def _i3d_logits(model: I3D, via: int | None, params: Any, video_BTHWC: jax.Array) -> jax.Array:
    if via:
        video_BTHWC = resize_bilinear(video_BTHWC, (via, via))
    video_BTHWC = resize_bilinear(video_BTHWC, (i3d_network.FRAME_SIZE,) * 2)
    return model.apply({"params": params}, 2.0 * video_BTHWC - 1.0)


def _c3d_logits(model: C3D, params: Any, video_BTHWC: jax.Array) -> jax.Array:
    video_BTHWC = resize_bilinear(video_BTHWC[..., ::-1], (model.frame_size,) * 2, "aligned")
    return model.apply({"params": params}, 255.0 * video_BTHWC)


def _named(weights: str | None, figure: str, advice: str) -> str:
    if not weights:
        raise ValueError(f"{figure} needs weights, which are not shipped: name their file. {advice}")
    return weights


def _digest(weights: str) -> str:
    with pathlib.Path(weights).expanduser().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
