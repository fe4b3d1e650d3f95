"""Bring your own tokens: what an object must be to take a tokenizer's place, and how a config names one.

    class Patches:                      # my_codec.py, beside run.py
        strides = (1, 8, 8)             # frames, rows and columns of a video per code
        num_codes = 512                 # codes are 0 to 511
        hash = "patches-1"              # another one whenever codes mean something else

        def codes(self, video_BTHWC):   # float32 in [0, 1], sides multiples of the strides -> (B, t, h, w)
            ...

        def video(self, codes_Bthw):    # -> (B, T, H, W, 3) in [0, 1], or uint8
            ...

    config.tokenizer.run = "codec:my_codec:Patches"

Named is an object, or a class or function that makes one of no arguments. It runs on the host, outside every compiled
program, so that it may be PyTorch, a web service or anything else that NumPy arrays can be handed to. What it answers
is checked. Codes that lie in files and whose codec is elsewhere need none; see ``inputs.coded``.
"""

import contextlib
import functools
import importlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from videogvt.inputs.coded import digits_of
from videogvt.inputs.contracts import ClipSource
from videogvt.models.token_model import Outside
from videogvt.ops.layout import check_shape
from videogvt.ops.video import Pace, as_float, as_pixels
from videogvt.pretrained.tokenizer import VideoTokenizer

SCHEME = "codec:"
MEMBERS = ("codes", "video", "strides", "num_codes", "hash")
_LARGEST = 2**31 - 1  # codes are int32


@runtime_checkable
class Codec(Protocol):
    """Makes codes of videos and videos of codes. A ``VideoTokenizer`` is one.

    Attributes:
      strides: frames, rows and columns of a video per code: clips (T, H, W) have codes (T/s, H/s, W/s).
      num_codes: codes are 0 to ``num_codes - 1``.
      hash: a text that changes with the meaning of the codes. Codes are kept by it, and runs know it again by it.
    """

    strides: tuple[int, int, int]
    num_codes: int
    hash: str

    def codes(self, video_BTHWC: np.ndarray) -> np.ndarray:
        """Integers (B, t, h, w) of videos, float32 in [0, 1], the same for a clip whatever else is in the batch."""

    def video(self, codes_Bthw: np.ndarray) -> np.ndarray:
        """Videos (B, T, H, W, 3), floats in [0, 1] or uint8, of codes, int32."""


class OwnTokenizer:
    """A codec as the rest of the package sees tokenizers; every answer of it is checked.

    Attributes:
      codec: what answers; None where codes are all there is, and nobody decodes them here.
      network: numbers alone, see ``outside``.
      hash: 16 hexadecimal digits that follow from the codec's own.
      params: the same as an array, by which a checkpoint knows it again.
      window: frames that it is shown at once by ``fidelity``; any number.
      config, data, trained_on, pace: nothing is known.
    """

    data, trained_on, pace, window = None, None, Pace(None, 1), 16

    def __init__(self, codec: Codec | None, strides: tuple[int, int, int], num_codes: int, digits: str, lead: int = 0):
        self.codec, self.hash, self.config = codec, digits, {}
        self.network = Outside(strides, num_codes, lead)
        self.params = {"hash": np.frombuffer(digits.encode(), np.uint8)}
        self.strides, self.num_codes = strides, num_codes

    @classmethod
    def of(cls, codec: Any, what: str) -> "OwnTokenizer":
        """Of an object that somebody wrote, which ``what`` names.

        Raises:
          ValueError: it is no ``Codec``; the message says what it lacks.
        """
        if lacking := [name for name in MEMBERS if not hasattr(codec, name)]:
            raise ValueError(f"{what} is a {type(codec).__name__} without {', '.join(lacking)}; a codec has "
                             f"{', '.join(MEMBERS)}. See videogvt/pretrained/codec.py.")
        if not (callable(codec.codes) and callable(codec.video)):
            raise ValueError(f"{what}: codes and video are {type(codec.codes).__name__} and "
                             f"{type(codec.video).__name__}; expected two methods.")
        strides = codec.strides
        listed = isinstance(strides, Sequence | np.ndarray) and len(strides) == 3
        if not listed or any(not _whole(stride, 1) for stride in strides):
            raise ValueError(f"{what}: strides are {strides!r}; expected three whole numbers from 1 on: frames, rows "
                             "and columns of a video per code.")
        if not _whole(codec.num_codes, 2):
            raise ValueError(f"{what}: num_codes is {codec.num_codes!r}; expected a whole number from 2 to {_LARGEST}.")
        if not isinstance(codec.hash, str) or not codec.hash:
            raise ValueError(f"{what}: hash is {codec.hash!r}; expected a text that changes with the codes' meaning.")
        return cls(codec, tuple(map(int, strides)), int(codec.num_codes), digits_of(codec.hash))

    def __repr__(self) -> str:
        return f"OwnTokenizer({self.num_codes} codes, strides {self.strides}, {self.hash})"

    def codes(self, video_BTHWC) -> np.ndarray:
        """The codes (B, t, h, w), int32, of videos, uint8 or floats in [0, 1]."""
        video_BTHWC = np.asarray(video_BTHWC)
        check_shape(video_BTHWC.shape)
        grid, video_BTHWC = self.network.latent_shape(video_BTHWC.shape[1:4]), as_pixels(video_BTHWC)
        codes = self._array(self._asked().codes(np.array(as_float(video_BTHWC))))  # a copy: the codec may write into it
        expected = (len(video_BTHWC), *grid)
        if codes.shape != expected or not np.issubdtype(codes.dtype, np.integer):
            raise ValueError(f"The codec {self.hash!r} made {codes.dtype} {codes.shape} of videos {video_BTHWC.shape}; "
                             f"expected integers {expected}, by its strides {self.strides}.")
        if codes.min() < 0 or codes.max() >= self.num_codes:
            raise ValueError(f"The codec {self.hash!r} made codes from {codes.min()} to {codes.max()}; expected 0 to "
                             f"{self.num_codes - 1}, by its num_codes.")
        return codes.astype(np.int32)

    def video(self, codes_Bthw) -> np.ndarray:
        """The videos (B, T, H, W, 3), float32 in [0, 1], of codes."""
        codes_Bthw = np.asarray(codes_Bthw, np.int32)
        video = self._array(self._asked().video(codes_Bthw.copy()))
        sides = (side * stride for side, stride in zip(codes_Bthw.shape[1:], self.strides))
        expected = (len(codes_Bthw), *sides, 3)
        if video.shape != expected:
            raise ValueError(f"The codec {self.hash!r} made {video.shape} of codes {codes_Bthw.shape}; expected "
                             f"{expected}, by its strides {self.strides}.")
        return as_float(as_pixels(video))

    def reconstruct(self, video_BTHWC) -> np.ndarray:
        """What is left of videos, float32 in [0, 1]."""
        return self.video(self.codes(video_BTHWC))

    def embed(self, codes_Bthw) -> np.ndarray:
        """Always an error: what is in a codec is its own."""
        raise ValueError(
            f"The codec {self.hash!r} has no vectors of its codes. Set init_from.token_embeddings = 'random'.")

    def _array(self, made: Any) -> np.ndarray:
        try:
            return np.asarray(made)
        except Exception as error:  # of NumPy, and of tensors that lie on a device or want a gradient
            raise ValueError(f"The codec {self.hash!r} made a {type(made).__name__}, which is no array: {error}. "
                             "Expected what numpy.asarray takes.") from error

    def _asked(self) -> Codec:
        if self.codec is None:
            raise ValueError(f"The codes {self.hash!r} were imported without what makes and shows them. Name that as "
                             "config.tokenizer.run = 'codec:MODULE:OBJECT', or decode the codes yourself.")
        return self.codec


def load_tokenizer(run: str | os.PathLike | None, step: int | str = "best") -> VideoTokenizer | OwnTokenizer:
    """What ``config.tokenizer.run`` names: "codec:MODULE:OBJECT", or what ``VideoTokenizer.load`` takes.

    Raises:
      ValueError: nothing is named; there is no such module or object; it is no codec.
      FileNotFoundError: see ``VideoTokenizer.load``.
    """
    if run is None:
        raise ValueError("config.tokenizer.run is None, which is for codes that were imported, the source 'codes'. "
                         "Videos need a tokenizer: name a run, an exported folder, one that ships, the file of another "
                         "project as SCHEME:FILE, or 'codec:MODULE:OBJECT'.")
    if not str(run).startswith(SCHEME):
        return VideoTokenizer.load(run, step=step)
    if step != "best":
        raise ValueError(f"config.tokenizer.step is {step!r}, and {run} has no steps; leave it at 'best'.")
    return _own(str(run))


@functools.lru_cache(maxsize=8)
def _own(run: str) -> OwnTokenizer:
    module, _, name = run.removeprefix(SCHEME).partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"config.tokenizer.run is {run!r}, and that is {error}. Expected 'codec:MODULE:OBJECT' of a "
                         "module that can be imported here, such as a file in the directory of run.py.") from error
    makes = isinstance(found, type) or (callable(found) and not isinstance(found, Codec))
    return OwnTokenizer.of(_made(found, run) if makes else found, f"{run!r}")


def _made(make: Callable, run: str) -> Any:
    try:
        inspect.signature(make).bind()
    except (TypeError, ValueError) as error:
        raise ValueError(f"config.tokenizer.run is {run!r}, which cannot be called without arguments: {error}. "
                         "Expected an object, or a class or function that makes one of no arguments.") from error
    return make()


def tokenizer_of(section: Mapping[str, Any], source: ClipSource) -> VideoTokenizer | OwnTokenizer:
    """The tokenizer of a config's section ``tokenizer`` for a source; of imported codes, where it names none, one that
    knows their numbers alone.

    Raises:
      ValueError: the codes are not those of the tokenizer that is named.
    """
    if holds_videos(source):
        return load_tokenizer(section["run"], section["step"])
    about, video, grid = (source.metadata[name] for name in ("tokenizer", "video", "grid"))
    lead = int(video[0] % grid[0] > 0)  # of a causal tokenizer's clips
    strides = tuple((side - first) // (cells - first) for side, cells, first in zip(video, grid, (lead, 0, 0)))
    if section["run"] is None:
        return OwnTokenizer(None, strides, about["num_codes"], about["hash"], lead)
    named = load_tokenizer(section["run"], section["step"])
    for what in ("hash", "num_codes"):
        if (here := getattr(named, what)) != (there := about[what]):
            raise ValueError(f"config.tokenizer.run is {section['run']!r} with {what} {here!r}; the codes of "
                             f"{source} are of {what} {there!r}. Name the tokenizer that made them, or None.")
    here = None
    with contextlib.suppress(ValueError):
        here = named.network.latent_shape(tuple(video))
    if here != tuple(grid):
        raise ValueError(f"config.tokenizer.run is {section['run']!r} with strides {named.strides}, which makes codes "
                         f"{here or 'of no shape'} of clips {tuple(video)}; {source} has {tuple(grid)}. Import them "
                         f"with the strides of the tokenizer and lead {named.network.lead}.")
    return named


def holds_videos(source: ClipSource) -> bool:
    """Whether a source has pixels, and not codes alone."""
    return "video" in source.available


def _whole(number: Any, least: int) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and least <= number <= _LARGEST
