"""A trained tokenizer in two lines: videos of any length to codes, and codes to videos."""

import functools
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.trees import frozen, tree_hash
from videogvt.nn import tokenizer as networks
from videogvt.nn.layers import in_chunks
from videogvt.ops.layout import check_shape, fitted_expression, layout_of, shape_problem
from videogvt.ops.video import Pace, as_float, as_pixels, chunk_starts, crossfade
from videogvt.pretrained.fidelity import knows_trajectories_alone, poor
from videogvt.pretrained.loading import stored_tokenizer

_WINDOW = 16
"""Frames that are seen at once, and one more of a causal network: the clips that shipped configs train on."""

IMPLEMENTATION = ("lowering", "remat_levels")
"""Fields of the network that change how it is computed and not what."""


class VideoTokenizer:
    """A network ``nn.tokenizer.TokenizerNetwork`` with its trained weights, for use on whole videos.

        from videogvt import VideoTokenizer
        tokenizer = VideoTokenizer.load("runs/vqvae_traj")  # a run's directory, or the name of a shipped tokenizer
        codes_Bthw = tokenizer.codes(video_BTHWC)           # int32 in [0, tokenizer.num_codes)
        video_BTHWC = tokenizer.video(codes_Bthw)           # float32 in [0, 1]

    Videos are batches of RGB clips, channels last, uint8 or floats in [0, 1], NumPy or jax arrays; results are NumPy
    arrays. Few values that leave [0, 1] by up to 0.1, as resampling makes them, are clipped with a warning; other axes,
    sizes, types and ranges are a ValueError that says what makes them right. T, H and W are any multiples of
    ``strides``. Longer clips than ``window`` are cut into windows of so many frames: each is seen by itself, and the
    last one ends with the clip, so that it may share frames with the one before. Memory on the device is that of
    ``batch_size`` windows; the host holds the videos whole.

    A causal network takes 1 and a multiple of the time stride frames; a picture is a clip of one. Where its norms are
    over frames, windows remember what they need of those before: codes and pixels are those of the clip seen at once.
    Where they are over clips, as Open-MAGVIT2's are, every clip is seen at once, however long.

    Limits: the network was trained on clips of one size and pace. It runs on others, but nothing says how well. What
    happens in one window cannot influence the codes of another, so seams may show; ``overlap`` hides them.

    Attributes:
      network: the Flax module.
      params: its parameters, on the device.
      config: its fields, plain values.
      window: frames of a window, a multiple of the time stride: 16, causal 17.
      batch_size: windows that are computed at once.
      data: the section ``data`` of the config it was trained with; None where that is not known.
    """

    def __init__(
        self, config: Mapping[str, Any], params: Mapping[str, Any], *, window: int | None = None,
        batch_size: int = 8, data: Mapping[str, Any] | None = None,
    ):
        self.config = dict(config)
        self.network = networks.TokenizerNetwork(**frozen(self.config))
        self.params = jax.device_put(params)
        self.batch_size, self.data, lead = batch_size, data, self.network.lead
        self.window = window if window is not None else _WINDOW + lead
        if self.window <= lead or (self.window - lead) % self.strides[0]:
            raise ValueError(f"window is {window}; expected {'1 and ' * lead}a multiple of the time stride "
                             f"{self.strides[0]}.")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1.")

    @classmethod
    def load(
        cls, source: str | os.PathLike, *, weights: str = "ema", step: int | str = "best",
        window: int | None = None, batch_size: int = 8,
    ) -> "VideoTokenizer":
        """A tokenizer from a run's directory or an exported folder, by a shipped one's name, or of others' weights.

        Args:
          source: the directory or name; a directory of that name wins. "maskgit:FILE" and its like: see ``compat``.
          weights: "ema" or "params", of a run or of a file that has both.
          step: "best", "last" or a number, of a run.
          window, batch_size: see the class.

        Raises:
          FileNotFoundError: there is no such tokenizer; the message lists the shipped ones, or names the public file.
          ValueError: what is there is no tokenizer, or is damaged.
        """
        found = stored_tokenizer(source, weights, step)
        window = found.window if window is None else window
        return cls(found.config, found.params, window=window, batch_size=batch_size, data=found.data)

    def __repr__(self) -> str:
        return f"VideoTokenizer({self.num_codes} codes, strides {self.strides}, {self.hash})"

    @property
    def num_codes(self) -> int:
        """K: codes are 0 to K - 1."""
        return self.network.num_codes

    @property
    def strides(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a video per code."""
        return self.network.strides

    @property
    def trained_on(self) -> tuple[int, int, int] | None:
        """(T, H, W) of the clips it was trained on; None where that is not known."""
        from videogvt.inputs.clip_shape import clip_shape  # which knows all data sets

        return self.data and clip_shape(self.data)

    @property
    def pace(self) -> Pace:
        """How the videos were sampled that it was trained on."""
        from videogvt.inputs.clip_shape import clip_pace

        return clip_pace(self.data) if self.data else Pace(None, 1)

    @functools.cached_property
    def hash(self) -> str:
        """16 hexadecimal digits that change with the network's fields and parameters; the same codes, the same hash."""
        fields = {name: value for name, value in self.config.items() if name not in IMPLEMENTATION}
        text = json.dumps(fields, sort_keys=True) + tree_hash(self.params)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def codes(self, video_BTHWC) -> np.ndarray:
        """The codes (B, t, h, w), int32, of videos: one grid per clip.

        Where the last window shares frames with the one before, the earlier window's codes stand.
        """
        video_BTHWC = self._checked_video(video_BTHWC)
        if self.network.lead:
            return self._over_batches(self._causal[0], video_BTHWC)
        starts = self._starts(video_BTHWC.shape[1], 0)
        grid, *rest = self._in_windows(self._codes, video_BTHWC, starts, min(self.window, video_BTHWC.shape[1]))
        for start, part_Bthw in zip(starts[1:], rest):
            known = grid.shape[1] - start // self.strides[0]
            grid = np.concatenate([grid, part_Bthw[:, known:]], axis=1)
        return grid

    def embed(self, codes_Bthw) -> np.ndarray:
        """The latents (B, t, h, w, D) that codes stand for: the decoder's input, float32."""
        codes_Bthw = self._checked_codes(codes_Bthw)
        return self._in_windows(self._embed, codes_Bthw, (0,), codes_Bthw.shape[1])[0].astype(np.float32)

    def video(self, codes_Bthw, *, overlap: int = 0, double_fusion: bool = False) -> np.ndarray:
        """The videos (B, T, H, W, 3), float32 in [0, 1], of codes.

        Args:
          codes_Bthw: of any length.
          overlap: frames that neighbouring windows share, a multiple of the time stride and less than ``window``; the
            two versions of them are cross-faded linearly.
          double_fusion: cross-fade the inputs of the last convolution first, and then the pixels. It takes the memory
            of these features for the whole clip.
        """
        codes_Bthw = self._checked_codes(codes_Bthw)
        if self.network.lead and not overlap:
            return self._over_batches(self._causal[1], codes_Bthw)
        stride, frames = self.strides[0], codes_Bthw.shape[1] * self.strides[0]
        starts = self._starts(frames, overlap)
        windows = [codes_Bthw[:, start // stride : (start + self.window) // stride] for start in starts]
        return self._decoded(windows, starts, double_fusion)

    def reconstruct(self, video_BTHWC, *, overlap: int = 0, double_fusion: bool = False) -> np.ndarray:
        """What is left of videos, float32 in [0, 1]: ``video(codes(video_BTHWC))``.

        With an overlap, every window is encoded and decoded by itself and what they share is cross-faded, as MAGVIT's
        released tools do. Shared frames then have codes of both windows, and no single grid stands for the result.
        Arguments are those of ``video``.

        Warns:
          UserWarning: it was trained on trajectories alone, and shows the clips no better than their mean frames do.
        """
        video_BTHWC = self._checked_video(video_BTHWC)
        if not overlap:
            made_BTHWC = self.video(self.codes(video_BTHWC), double_fusion=double_fusion)
        else:
            starts = self._starts(video_BTHWC.shape[1], overlap)
            windows = self._in_windows(self._codes, video_BTHWC, starts, min(self.window, video_BTHWC.shape[1]))
            made_BTHWC = self._decoded(windows, starts, double_fusion)
        if knows_trajectories_alone(self) and (problem := poor(video_BTHWC, made_BTHWC, "This tokenizer")):
            warnings.warn(problem, stacklevel=2)
        return made_BTHWC

    def _decoded(self, windows: Sequence[np.ndarray], starts: Sequence[int], double_fusion: bool) -> np.ndarray:
        """The video of windows of codes that begin at the frames ``starts``."""
        if len(windows) == 1:
            return self._over_batches(self._video, windows[0])
        if not double_fusion:
            return _fade(self._stacked(self._video, windows), starts)
        patch = self.network.pyramid.stem[0]  # features have a frame for every patch of frames
        begins = [start // patch for start in starts]
        parts = self._stacked(self._features, windows)
        fused_BTHWD = _fade(parts, begins)
        return _fade(self._in_windows(self._pixels, fused_BTHWD, begins, parts[0].shape[1]), starts)

    def _in_windows(self, function: Callable, array, starts: Sequence[int], length: int) -> list[np.ndarray]:
        """The results (B, ...) of a function for every window along axis 1."""
        return self._stacked(function, [array[:, start : start + length] for start in starts])

    def _stacked(self, function: Callable, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        results = self._over_batches(function, np.concatenate(windows))
        return np.split(results, len(windows))

    def _over_batches(self, function: Callable, rows: np.ndarray) -> np.ndarray:
        """The results of a function for many rows, so many at a time, in few sizes since each is compiled."""
        size = min(self.batch_size, 1 << (len(rows) - 1).bit_length())
        results = []
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            padded = np.pad(batch, [(0, size - len(batch))] + [(0, 0)] * (batch.ndim - 1), mode="edge")
            results.append(np.asarray(function(self.params, padded))[: len(batch)])
        return np.concatenate(results)

    def _starts(self, frames: int, overlap: int) -> tuple[int, ...]:
        if overlap and self.network.lead:
            raise ValueError(f"overlap is {overlap} frames; windows of a causal network share none. Leave it at 0.")
        if overlap % self.strides[0] or not 0 <= overlap < self.window:
            raise ValueError(
                f"overlap is {overlap} frames; expected a multiple of the time stride {self.strides[0]}, at least 0 "
                f"and less than the window of {self.window}."
            )
        return (0,) if frames <= self.window else chunk_starts(frames, self.window, overlap)

    def _checked_video(self, video_BTHWC) -> np.ndarray:
        """The video on the host, uint8 or float32; refused with all that is wrong with its shape, or its values."""
        video_BTHWC = np.asarray(video_BTHWC)
        self._check_sides(video_BTHWC.shape)
        if not len(video_BTHWC):
            raise ValueError(f"Expected at least one clip, found a batch of shape {video_BTHWC.shape}.")
        return as_pixels(video_BTHWC)

    def _check_sides(self, shape: tuple[int, ...]) -> None:
        layout = layout_of(shape)
        if layout is None:
            return check_shape(shape)
        expression, sides = layout.expression, layout.shape[1:4]
        sizes = self.network.size_problem(sides, expression)
        if sizes:
            expression = fitted_expression(expression, sides, self.network.fitting(sides))
        problems = [shape_problem(shape, expression), sizes]
        if any(problems):
            raise ValueError(" ".join(filter(None, problems)))

    def _checked_codes(self, codes_Bthw) -> np.ndarray:
        codes_Bthw = np.asarray(codes_Bthw)
        if codes_Bthw.ndim != 4 or 0 in codes_Bthw.shape or not np.issubdtype(codes_Bthw.dtype, np.integer):
            raise ValueError(
                f"Expected codes as integers of shape (B, t, h, w), found {codes_Bthw.dtype} {codes_Bthw.shape}."
            )
        low, high = int(codes_Bthw.min()), int(codes_Bthw.max())
        if low < 0 or high >= self.num_codes:
            raise ValueError(f"Codes run from 0 to {self.num_codes - 1}; found values from {low} to {high}.")
        return codes_Bthw.astype(np.int32)

    @functools.cached_property
    def _codes(self) -> Callable:
        return self._compiled(lambda network, video_BTHWC: network.codes(as_float(video_BTHWC)))

    @functools.cached_property
    def _causal(self) -> tuple[Callable, Callable]:
        """The codes of clips, and the videos of codes, of a causal network."""
        if not self.network.exact_in_chunks:
            return self._codes, self._video
        frames = self.window - 1
        return (in_chunks(self.network, lambda network, video: network.codes(as_float(video)), frames),
                in_chunks(self.network, lambda network, codes: network.video(codes), frames // self.strides[0]))

    @functools.cached_property
    def _embed(self) -> Callable:
        return self._compiled(lambda network, codes_Bthw: network.embed(codes_Bthw))

    @functools.cached_property
    def _video(self) -> Callable:
        return self._compiled(lambda network, codes_Bthw: network.video(codes_Bthw))

    @functools.cached_property
    def _features(self) -> Callable:
        return self._compiled(lambda network, codes_Bthw: network.decode_features(network.embed(codes_Bthw)))

    @functools.cached_property
    def _pixels(self) -> Callable:
        def pixels(network, features_BTHWD):
            return jnp.clip(network.decode_pixels(features_BTHWD).astype(jnp.float32), 0, 1)

        return self._compiled(pixels)

    def _compiled(self, method: Callable) -> Callable:
        return jax.jit(lambda params, array: self.network.apply({"params": params}, array, method=method))


def _fade(parts: Sequence[np.ndarray], starts: Sequence[int]) -> np.ndarray:
    return np.asarray(crossfade(parts, starts))
