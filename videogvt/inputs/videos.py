"""A folder of videos as a data set: mp4, avi, mov, webm, mkv, gif, decoded with PyAV (the extra ``video``).

The rules, which ``data/videos/README.md`` repeats for readers of the data:

* Time. Every video is sampled at one constant rate, ``fps`` or else its own mean rate: the frame of moment t is the
  last one whose timestamp is not later than t, give or take a quarter of the mean interval (timestamps are rounded). A
  constant-rate video at its own rate gives each of its frames once. Where timestamps are missing, frames count as
  evenly spaced at the rate that the container states.
* Clips are consecutive, without overlap, ``num_frames`` frames ``stride`` samples apart; what is left at the end is not
  used. A video shorter than one clip is left out and counted, or with ``short="repeat"`` its last frame is repeated.
* Transparent pixels are laid over white. Rotation by quarter turns that the container asks for is done.
* A file is unreadable, and left out by name, if it cannot be opened, has no picture stream, or a frame fails to decode
  or is marked corrupt, or if fewer than nine tenths of the duration or frames that it promises are there.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import tensorflow_datasets as tfds

from videogvt.inputs.builders import data_root
from videogvt.inputs.folders import FolderBuilder, FolderConfig, Footage, NoFolder, Unusable
from videogvt.inputs.frames import Framing, on_white

SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
SHORT = ("drop", "repeat")
GRACE = 0.25  # of the mean interval between frames
PROMISE = 0.9  # of a file's promised length
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these drop the alpha channel


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

    suffixes = SUFFIXES
    kind = "videos"
    about = "Clips cut from a folder of videos, at one size and without a video in two splits."

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

    def examine(self, path: os.PathLike) -> Footage:
        times_N, stated_rate = _timeline(path)
        numbers_N, rate = sample(times_N, stated_rate, self.fps)
        span = (self.num_frames - 1) * self.stride + 1
        if len(numbers_N) < span and self.short == "repeat":
            numbers_N = np.concatenate([numbers_N, np.full(span - len(numbers_N), numbers_N[-1])])
        starts = np.arange(0, len(numbers_N) - span + 1, span)
        frames_NT = numbers_N[starts[:, None] + np.arange(self.num_frames) * self.stride]
        return Footage(frames_NT.astype(np.int32), (starts / rate).astype(np.float32), rate / self.stride)

    def reader(self) -> Callable[[str, np.ndarray, str], np.ndarray]:
        return functools.partial(read_clip, framing=self.framing)


class Videos(FolderBuilder, skip_registration=True):
    """Clips cut from a folder of videos; the config is a ``VideoFolderConfig``."""

    name = "videos"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
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
    moments_M = np.arange(int((times_N[-1] + grace) * rate) + 1) / rate
    return np.searchsorted(times_N, moments_M + grace, side="right") - 1, float(rate)


def read_clip(path: str, frames_T: np.ndarray, name: str, framing: Framing) -> np.ndarray:
    """The frames of these numbers (never decreasing), uint8 (T,H,W,3)."""
    place = framing.place(name)
    return np.stack([framing(frame_HWC, place) for frame_HWC in _Player.of(path).show(frames_T.tolist())])


def decode_frames(path: os.PathLike, count: int) -> list[np.ndarray]:
    """The first frames of a video file, at most ``count``, each uint8 RGB (H, W, 3); needs PyAV."""
    av = _av()
    try:
        return [_rgb(frame) for frame in itertools.islice(_decoded(path), count)]
    except (av.error.FFmpegError, Unusable) as error:
        raise ValueError(f"{path} cannot be read as a video: {error}.") from error


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
        self._frames, self._number, self._frame = _decoded(self._path), -1, None

    def show(self, numbers: list[int]) -> Iterator[np.ndarray]:
        """RGB frames of these numbers, (H,W,3)."""
        shown, picture_HWC = -1, None
        for number in numbers:
            if number < self._number:
                self._rewind()
            while self._number < number:
                self._frame, self._number = next(self._frames), self._number + 1
            if shown != number:
                shown, picture_HWC = number, _rgb(self._frame)
            yield picture_HWC


def _timeline(path: os.PathLike) -> tuple[np.ndarray, float | None]:
    """Decodes a whole video: the timestamps of its frames in seconds (NaN for none), and the rate it states."""
    av = _av()
    try:
        with av.open(os.fspath(path)) as container:
            stream = _picture_stream(container)
            rate = float(stream.average_rate or stream.guessed_rate or 0) or None
            frames, duration = stream.frames, (container.duration or 0) / av.time_base
        times = []
        for frame in _decoded(path):
            if frame.is_corrupt:
                raise Unusable(f"frame {len(times)} is corrupt")
            times.append(float("nan") if frame.time is None else frame.time)
    except av.error.FFmpegError as error:
        raise Unusable(error.strerror or type(error).__name__) from error
    if not times:
        raise Unusable("it holds no frame")
    if len(times) < PROMISE * frames:
        raise Unusable(f"it promises {frames} frames, but only {len(times)} are there")
    lasted = times[-1] - times[0] + (1 / rate if rate else 0)
    if not frames and lasted < PROMISE * duration:
        raise Unusable(f"it promises {duration:.2f} s, but only {lasted:.2f} s are there")
    return np.array(times), rate


def _decoded(path: os.PathLike) -> Iterator:
    """The frames of a video in the order in which they are shown."""
    av = _av()
    with av.open(os.fspath(path)) as container:
        stream = _picture_stream(container)
        decoder = ALPHA_DECODERS.get(stream.codec_context.name) if stream.metadata.get("alpha_mode") == "1" else None
        if decoder is None:
            yield from container.decode(stream)
            return
        context = av.CodecContext.create(decoder, "r")
        for packet in container.demux(stream):
            yield from context.decode(packet)


def _picture_stream(container):
    if not container.streams.video:
        raise Unusable("it has no picture stream")
    return container.streams.video[0]


def _rgb(frame) -> np.ndarray:
    """A decoded frame as uint8 (H,W,3), on white, turned as its container asks."""
    if any(component.is_alpha for component in frame.format.components):
        frame_HWC = on_white(frame.to_ndarray(format="rgba"))
    else:
        frame_HWC = frame.to_ndarray(format="rgb24")
    return np.rot90(frame_HWC, frame.rotation // 90) if frame.rotation % 90 == 0 else frame_HWC


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise ImportError("Reading videos needs PyAV: pip install 'videogvt[video]'.") from error
    return av
