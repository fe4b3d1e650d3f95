"""Decoding videos with PyAV as players show them: what is shown, when, upright and with square pixels.

It imports neither TFDS nor jax, so that the process that tries files (``probing``) starts at once.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import ModuleType

import numpy as np

from videogvt.inputs.frames import Unusable, on_white, resize_frame

PROMISE = 0.9  # of the frames or seconds that a file promises
MAX_ASPECT = 10  # of a pixel's sides; more is no camera's
CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # hours, minutes and seconds of a tag
_SLACK = 0.01  # of a matrix's entries, which are rounded
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these drop the alpha channel
_SEEN = {"protocol_whitelist": "file"}  # so that a playlist under a video's name fetches nothing


@dataclasses.dataclass(frozen=True)
class Frame:
    """A decoded frame that is shown.

    Attributes:
      decoded: PyAV's frame.
      matrix: the 3 x 3 display matrix, 16.16 and in the last column 2.30 fixed point; None for none.
      aspect: width of a stored pixel over its height.
    """

    decoded: object
    matrix: np.ndarray | None
    aspect: Fraction

    @property
    def time(self) -> float:
        """When it is shown, in seconds; NaN where the file does not say."""
        return float("nan") if self.decoded.time is None else self.decoded.time

    @property
    def layout(self) -> tuple[object, ...]:
        """What decides whether it can be made a picture."""
        matrix = None if self.matrix is None else self.matrix.tobytes()
        return self.decoded.format.name, self.decoded.width, self.decoded.height, matrix, self.aspect

    def picture(self) -> np.ndarray:
        """The frame as uint8 RGB (H, W, 3), on white, upright and with square pixels."""
        if any(component.is_alpha for component in self.decoded.format.components):
            stored_HWC = on_white(self.decoded.to_ndarray(format="rgba"))
        else:
            stored_HWC = self.decoded.to_ndarray(format="rgb24")
        return with_square_pixels(*upright(stored_HWC, self.matrix, self.aspect))


def shown(path: os.PathLike) -> Iterator[Frame]:
    """The frames that players show of a video, in their order: none before the time 0 that the container sets."""
    return (frame for frame, before in _decoded(path) if not before)


def timeline(
    path: os.PathLike, max_frames: int | None = None, tell: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, float | None]:
    """Decodes a whole video: the timestamps of its frames in seconds (NaN for none), and the rate that it states.

    Args:
      path: of the file.
      max_frames: only the first so many frames, whatever becomes of the others.
      tell: called after every frame.

    Raises:
      Unusable: it is cut off, damaged, or asks for what is not done.
    """
    av = pyav()
    times, layouts, decoded, last = [], set(), 0, 0.0
    try:
        for frame, before in _decoded(path):
            tell()
            decoded += 1
            if frame.decoded.is_corrupt:
                raise Unusable(f"frame {decoded - 1} is corrupt")
            if before:
                continue
            if frame.layout not in layouts:  # so that nothing is refused when clips are cut
                frame.picture()
                layouts.add(frame.layout)
            times.append(frame.time)
            last = frame.decoded.duration * float(frame.decoded.time_base or 0)
            if len(times) == max_frames:
                return np.array(times), None
        if not decoded:
            raise Unusable("it holds no frame")
        if not times:
            raise Unusable("all of its frames lie before the time at which it begins, so that none is shown")
        return np.array(times), _checked_rate(path, times, decoded, last)
    except MemoryError:  # PyAV's is an FFmpegError too
        raise
    except av.error.FFmpegError as error:
        raise Unusable(reason(error)) from error


def _checked_rate(path: os.PathLike, times: list[float], decoded: int, last: float) -> float | None:
    """The rate that a video states; ``Unusable`` if it promises more than was decoded."""
    with _opened(path) as container:
        stream = picture_stream(container)
        rate = float(stream.average_rate or stream.guessed_rate or 0) or None
        frames, start, end = stream.frames, float((stream.start_time or 0) * stream.time_base), _stated_end(stream)
        if container.format.name == "gif":
            _check_gif(path)
        duration, alone = (container.duration or 0) / pyav().time_base, len(container.streams) == 1
        if frames and "mp4" in container.format.name.split(","):
            # The table has all that is stored; an edit list says what of it is shown, and the index knows that. What
            # lies before the first key frame cannot be decoded.
            entries = itertools.dropwhile(lambda entry: not entry.is_keyframe, stream.index_entries)
            frames = sum(not entry.is_discard for entry in entries)
    if decoded < PROMISE * frames:
        raise Unusable(f"it promises {frames} frames, but only {decoded} are there")
    promised = (duration if end is None else end) - start
    lasted = times[-1] - start + (last or (1 / rate if rate else 0))
    if not frames and lasted < PROMISE * promised:
        if end is None and not alone:  # what is promised may be of another stream
            lasted = max(lasted, _reached(path) - start)
        if lasted < PROMISE * promised:
            raise Unusable(f"it promises {promised:.2f} s, but only {lasted:.2f} s are there")
    return rate


def _check_gif(path: os.PathLike) -> None:
    """``Unusable`` if a GIF ends before its trailer; FFmpeg shows what there is of its last picture."""
    with open(path, "rb") as file:
        def table(flags: int) -> None:
            file.seek(3 << (flags & 7) + 1 if flags & 0x80 else 0, os.SEEK_CUR)

        table((file.read(13)[10:11] or b"\0")[0])  # of the colours of all pictures, after the size of the screen
        while kind := file.read(1):
            if kind == b"\x3b":  # the trailer; whatever follows is none of the GIF's
                return
            if kind == b"\x2c":  # a picture: its place, its colours, the width of its codes
                table((file.read(9)[8:9] or b"\0")[0])
            if kind in b"\x21\x2c":
                file.seek(1, os.SEEK_CUR)
                while size := file.read(1):  # blocks, up to an empty one
                    if size == b"\0":
                        break
                    file.seek(size[0], os.SEEK_CUR)
    raise Unusable("it is a GIF that ends before its trailer: it was cut off")


def _stated_end(stream) -> float | None:
    """When a picture stream ends by what the container says of it alone, in seconds; None if it says nothing."""
    if stream.duration:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    for name, said in stream.metadata.items():  # of Matroska and WebM
        if name.upper().startswith("DURATION") and (found := CLOCK.fullmatch(said)):
            hours, minutes, seconds = map(float, found.groups())
            return 3600 * hours + 60 * minutes + seconds or None
    return None


def _reached(path: os.PathLike) -> float:
    """When the last packet of a file ends, of whichever stream, in seconds."""
    with _opened(path) as container:
        packets = (packet for packet in container.demux() if packet.pts is not None)
        return max((float((packet.pts + (packet.duration or 0)) * packet.time_base) for packet in packets), default=0.0)


def _decoded(path: os.PathLike) -> Iterator[tuple[Frame, bool]]:
    """All frames that the decoder gives, and whether they lie before what is shown.

    Frames that an edit list leaves out are dropped by the decoder. Where a container (one of fragments) has them
    beside it, they end at a negative time or at 0.
    """
    with _opened(path) as container:
        stream = picture_stream(container)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        name = ALPHA_DECODERS.get(stream.codec_context.name) if stream.metadata.get("alpha_mode") == "1" else None
        if name is None:
            for packet in _packets(container, stream):
                for frame in packet.decode():
                    yield Frame(frame, _matrix(frame), aspect), _before(frame)
            return
        matrix, context = _matrix_of(path), pyav().CodecContext.create(name, "r")  # which gives frames no matrix
        for packet in _packets(container, stream):
            for frame in context.decode(packet):
                yield Frame(frame, matrix, aspect), _before(frame)


def _packets(container, stream) -> Iterator:
    """A stream's packets, the empty one at the end too; ``Unusable`` at one that is not all there.

    Decoders may make a picture of its beginning and say nothing: those of avi and mjpeg do.
    """
    for number, packet in enumerate(container.demux(stream)):
        if packet.is_corrupt:
            raise Unusable(f"frame {number}, as they are stored, is corrupt or cut off")
        yield packet


def _matrix_of(path: os.PathLike) -> np.ndarray | None:
    """The display matrix of a video's first frame."""
    with _opened(path) as container:
        return next((_matrix(frame) for frame in container.decode(picture_stream(container))), None)


def _before(frame) -> bool:
    return frame.pts is not None and frame.pts < 0 and frame.pts + frame.duration <= 0


def _matrix(frame) -> np.ndarray | None:
    found = frame.side_data.get("DISPLAYMATRIX")
    return None if found is None else np.frombuffer(bytes(found)[:36], "=i4").reshape(3, 3)


def upright(
    stored_HWC: np.ndarray, matrix: np.ndarray | None, aspect: Fraction
) -> tuple[np.ndarray, Fraction]:
    """A picture turned and mirrored as a display matrix asks, and the aspect of its pixels then.

    A point (x, y) is shown at (a x + c y, b x + d y), where a, b are the matrix's first row and c, d its second. What
    it moves is of no account, and what it stretches is in the aspect that containers state.
    """
    if matrix is None:
        return stored_HWC, aspect
    (a, b), (c, d) = matrix[:2, :2].tolist()
    slack = _SLACK * max(map(abs, (a, b, c, d)))
    flat = max(abs(matrix[0, 2]), abs(matrix[1, 2])) == 0  # no perspective
    if flat and max(abs(b), abs(c)) <= slack < min(abs(a), abs(d)):
        return stored_HWC[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1], aspect
    if flat and max(abs(a), abs(d)) <= slack < min(abs(b), abs(c)):
        turned_HWC = stored_HWC.transpose(1, 0, 2)
        return turned_HWC[:: 1 if b > 0 else -1, :: 1 if c > 0 else -1], 1 / aspect
    units = (1 << 16, 1 << 16, 1 << 30)
    rows = "; ".join(" ".join(f"{value / unit:g}" for value, unit in zip(row, units)) for row in matrix[:2].tolist())
    raise Unusable(f"its display matrix ({rows}) asks for more than quarter turns and mirror images; write it anew "
                   "with upright frames")


def with_square_pixels(picture_HWC: np.ndarray, aspect: Fraction) -> np.ndarray:
    """A picture whose pixels are ``aspect`` times as wide as high, stretched until they are square."""
    if not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        raise Unusable(f"its pixels are {float(aspect):g} times as wide as high; at most {MAX_ASPECT} times either "
                       "way is done")
    height, width = picture_HWC.shape[:2]
    height, width = (height, round(width * aspect)) if aspect > 1 else (round(height / aspect), width)
    return resize_frame(np.ascontiguousarray(picture_HWC), height, width)


def picture_stream(container):
    """The first picture stream of an open file."""
    if not container.streams.video:
        raise Unusable("it has no picture stream")
    return container.streams.video[0]


def _opened(path: os.PathLike):
    """The file, as an open container; ``file:`` keeps names such as "http:a.mp4" from being addresses."""
    return pyav().open(f"file:{os.fspath(path)}", options=_SEEN, metadata_errors="replace")


def reason(error: Exception) -> str:
    """Why a file cannot be read, in one line."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(said.split())


def pyav() -> ModuleType:
    """PyAV; without it an ``ImportError`` that names the extra."""
    try:
        import av
    except ImportError as error:
        raise ImportError("Reading videos needs PyAV: pip install 'videogvt[video]'.") from error
    return av
