"""A folder of videos as a data set: mp4, avi, mov, webm, mkv, gif, decoded with PyAV (the extra ``video``).

The rules, which ``data/videos/README.md`` repeats for readers of the data:

* Time. Every video is sampled at one constant rate, ``fps`` or else its own mean rate: the frame of moment t is the
  last one whose timestamp is not later than t, give or take a quarter of the mean interval (timestamps are rounded). A
  constant-rate video at its own rate gives each of its frames once. Where timestamps are missing, frames count as
  evenly spaced at the rate that the container states.
* Clips are consecutive, without overlap, ``num_frames`` frames ``stride`` samples apart; what is left at the end is not
  used. A video shorter than one clip is left out and counted, or with ``short="repeat"`` its last frame is repeated.
* What players show counts. Frames that an edit list leaves out, or that end before the time 0, are not there.
* Transparent pixels are laid over white. Quarter turns and mirror images that the container asks for are done, and
  pixels that are not square are made so.
* A file is unreadable, and left out by name, if it cannot be opened, has no picture stream, or a frame fails to decode,
  is marked corrupt or is not all there, if fewer than nine tenths of the duration or frames that it promises are there,
  if it is a GIF without its trailer, if it asks for another display matrix or pixels more than ten times as wide as
  high, or if its decoder crashes, takes 60 s for a frame or more than 4 GiB.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow_datasets as tfds

from videogvt.inputs.builders import data_root
from videogvt.inputs.decoding import Frame, shown
from videogvt.inputs.folders import FolderBuilder, FolderConfig, Footage, NoFolder
from videogvt.inputs.frames import Framing, Unusable
from videogvt.inputs.paths import printable
from videogvt.inputs.probing import probing

_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
SHORT = ("drop", "repeat")
GRACE = 0.25  # of the mean interval between frames
MAX_MOMENTS = 10**7  # of a video; some 90 hours, while a damaged timestamp may be a thousand years off
MAX_REPEATS = 1000  # of a frame on average, for the same reason


@dataclasses.dataclass(eq=False, kw_only=True)
class VideoFolderConfig(FolderConfig):
    """A folder of videos as clips; the rules are in ``videogvt.inputs.videos``.

    Attributes:
      num_frames: of a clip.
      stride: samples from one frame of a clip to the next.
      fps: rate at which videos are sampled; None for each video's own mean rate.
      short: what becomes of videos shorter than a clip, "drop" or "repeat" (the last frame).
      (others: see ``FolderConfig``)
    """

    num_frames: int = 16
    stride: int = 1
    fps: float | None = None
    short: str = "drop"

    suffixes = _SUFFIXES
    kind = "videos"
    about = "Clips cut from a folder of videos, at one size and without a frame in two splits."

    def __post_init__(self):
        if self.short not in SHORT:
            raise ValueError(f"short is {self.short!r}; it must be one of {', '.join(map(repr, SHORT))}.")
        if self.num_frames < 1 or self.stride < 1 or (self.fps is not None and self.fps <= 0):
            raise ValueError(
                f"num_frames={self.num_frames}, stride={self.stride}, fps={self.fps}: frames and stride must be at "
                "least 1, and fps positive or None."
            )
        super().__post_init__()

    def settings(self) -> dict[str, object]:
        return super().settings() | {"stride": self.stride, "fps": self.fps, "short": self.short}

    @contextlib.contextmanager
    def examiner(self, threads: int) -> Iterator[Callable[[os.PathLike], Footage]]:
        with probing(threads) as timeline:
            yield lambda path: self._footage_of(*timeline(path))

    def _footage_of(self, times_N: np.ndarray, stated_rate: float | None) -> Footage:
        numbers_N, rate = sample(times_N, stated_rate, self.fps)
        span = (self.num_frames - 1) * self.stride + 1
        if len(numbers_N) < span and self.short == "repeat":
            numbers_N = np.concatenate([numbers_N, np.full(span - len(numbers_N), numbers_N[-1])])
        starts = np.arange(0, len(numbers_N) - span + 1, span)
        frames_NT = numbers_N[starts[:, None] + np.arange(self.num_frames) * self.stride]
        return Footage(frames_NT.astype(np.int32), (starts / rate).astype(np.float32), rate / self.stride)

    def reader(self) -> Callable[[str, np.ndarray, str], np.ndarray]:
        return functools.partial(read_frames, framing=self.framing)


class Videos(FolderBuilder, skip_registration=True):
    """Clips cut from a folder of videos; the config is a ``VideoFolderConfig``."""

    name = "videos"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.0.0": "First release.",
                     "1.1.0": "Edit lists, mirror images and the aspect of pixels are followed."}
    BUILDER_CONFIGS = [NoFolder(example="/my/videos")]
    builder_config_cls = VideoFolderConfig


def prepared_videos(
    config: VideoFolderConfig, data_dir: os.PathLike | None = None, workers: int | None = None
) -> Videos:
    """The builder of a folder's clips that are on disk, cutting them first where they are not.

    Args are those of ``builders.prepared``.
    """
    builder = Videos(config=config, data_dir=data_root(data_dir))
    builder.workers = workers
    builder.download_and_prepare()
    return builder


def sample(times_N: np.ndarray, stated_rate: float | None, fps: float | None) -> tuple[np.ndarray, float]:
    """The numbers of the frames that a video shows at moments 0, 1/rate, 2/rate, ..., and the rate.

    Args:
      times_N: timestamps in seconds, NaN where there is none.
      stated_rate: by the container, used where timestamps do not tell.
      fps: the rate asked for; None for the mean rate of the video.
    """
    count = len(times_N)
    if np.isnan(times_N).any() or (count > 1 and times_N.max() <= times_N[0]):
        if not stated_rate:
            raise Unusable("its frames have no timestamps, and it states no frame rate")
        times_N = np.arange(count) / stated_rate
    times_N = np.maximum.accumulate(times_N - times_N[0])
    mean_rate = (count - 1) / times_N[-1] if count > 1 else stated_rate or 1.0
    rate = fps or mean_rate
    grace = GRACE / mean_rate
    moments = (times_N[-1] + grace) * rate
    if not moments < min(MAX_MOMENTS, MAX_REPEATS * count):
        raise Unusable(f"by its timestamps its {count} frames last {times_N[-1]:.3g} s, which {rate:g} frames a second "
                       f"make {moments:.3g} frames; if that is so, ask for a lower fps")
    moments_M = np.arange(int(moments) + 1) / rate
    return np.searchsorted(times_N, moments_M + grace, side="right") - 1, float(rate)


def read_frames(path: str, frames_T: np.ndarray, name: str, framing: Framing) -> np.ndarray:
    """The frames of these numbers (never decreasing), uint8 (T,H,W,3)."""
    place = framing.place(name)
    return np.stack([framing(frame_HWC, place) for frame_HWC in _Player.of(path).show(frames_T.tolist())])


class _Player:
    """An open video that goes forward, and starts again when asked for an earlier frame."""

    def __init__(self, path: str):
        self._path = path
        self._rewind()

    @staticmethod
    @functools.lru_cache(maxsize=1)  # clips are asked for in order, file after file
    def of(path: str) -> "_Player":
        return _Player(path)

    def _rewind(self) -> None:
        self._frames, self._number, self._frame = shown(self._path), -1, None

    def show(self, numbers: list[int]) -> Iterator[np.ndarray]:
        """RGB frames of these numbers, (H,W,3)."""
        last, picture_HWC = -1, None
        for number in numbers:
            if number < self._number:
                self._rewind()
            while self._number < number:
                self._frame, self._number = self._next(), self._number + 1
            if last != number:
                last, picture_HWC = number, self._frame.picture()
            yield picture_HWC

    def _next(self) -> Frame:
        frame = next(self._frames, None)
        if frame is None:
            raise ValueError(f"{printable(self._path)} had {self._number + 1} frames more when it was examined: it "
                             "changed while its data set was built. Start again.")
        return frame
