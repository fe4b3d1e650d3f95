"""Moving digits: two handwritten digits that bounce in a picture, with exact truth; a clip is a function of its index.

After Moving MNIST (N. Srivastava, E. Mansimov, R. Salakhutdinov, arXiv 1502.04681): white on black, constant velocity,
reflection at the borders. Two things differ. The digits are scikit-learn's (``digit_images``), and where they cross,
one is in front: it hides the other, with a dark rim of a pixel. The maximum of two whites, which Moving MNIST takes, is
the same whoever is in front.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.world.digit_images import DIGITS, SHARES, Sprite, digit_of, images_of, sprite
from videogvt.world.example import Field
from videogvt.world.spec import stream

DIGITS_VERSION = "1.0.0"  # of this generator: the bytes of an example change only together with this number

PAIRS = tuple((low, high) for low in range(DIGITS) for high in range(low, DIGITS))
"""The classes: which two digits are shown, in no order."""

CLASS_NAMES = tuple(f"{low}-{high}" for low, high in PAIRS)

_SEEN = 0.5
"""Grey levels, of 255: what changes a pixel by less is not seen."""


@dataclass(frozen=True)
class DigitSpec:
    """Everything that determines an example besides its split and index.

    Attributes:
      name: of the spec, the first part of every ``id``.
      num_frames, height, width: size of the video, in frames and pixels.
      size: px, side of a digit's picture with its blank border; its ink is about four fifths of that high.
      speed: px per frame, lowest and highest.
      fps: frames per second at which clips are shown; the motion is in px per frame.
      seed: of the whole world; another seed is another data set.
      splits: (name, number of examples) pairs; the names are those of ``digit_images.SHARES``.
    """

    name: str
    num_frames: int = 16
    height: int = 64
    width: int = 64
    size: int = 25
    speed: tuple[float, float] = (2.0, 4.0)
    fps: float = 10.0
    seed: int = 0
    splits: tuple[tuple[str, int], ...] = (("train", 8000), ("validation", 1000), ("test", 2000))

    def __post_init__(self):
        if not 0 < self.speed[0] <= self.speed[1]:
            raise ValueError(f"speed is {self.speed}; expected two numbers above 0, the lower one first.")
        if 2 * self.size > min(self.height, self.width):
            raise ValueError(f"size is {self.size} in pictures of {self.height} x {self.width} px; expected at most "
                             "half of either side, so that two digits have room beside each other.")
        for split, _ in self.splits:
            if split not in SHARES:
                raise ValueError(unknown_name("split of a world of digits", split, SHARES))

    def with_train(self, clips: int) -> "DigitSpec":
        """The same world with so many training clips: the first ones are this spec's, but for the name in their ``id``.

        It is called "digits64_train100000"; the other splits are the same.
        """
        if clips < 1:
            raise ValueError(f"The training split of {self.name!r} was asked for {clips} clips; it needs at least 1.")
        splits = tuple((name, clips if name == "train" else size) for name, size in self.splits)
        return replace(self, name=f"{self.name}_train{clips}", splits=splits)

    def split_size(self, split: str) -> int:
        """Number of examples of ``split``; an unknown split is a ``KeyError`` that lists the legal ones."""
        sizes = dict(self.splits)
        if split not in sizes:
            raise KeyError(unknown_name("split", split, sizes))
        return sizes[split]


DIGIT_SPECS: Mapping[str, DigitSpec] = MappingProxyType({
    spec.name: spec for spec in (
        DigitSpec("digits64"),
        DigitSpec("digits_tiny", num_frames=8, height=32, width=32, size=12, speed=(1.0, 2.0),
                  splits=(("train", 60), ("validation", 20), ("test", 20))),
    )
})  # fmt: skip

_ANY = (None, None)
DIGIT_FIELDS: Mapping[str, Field] = MappingProxyType({
    "video": Field(("T", "H", "W", 3), "uint8", "RGB", (0, 255), "the clip; its three channels are equal"),
    "label": Field((), "int64", "1", (0, 54), "which two digits are shown, in no order: a class for each pair"),
    "digit": Field((2,), "int64", "1", (0, 9), "what the first and the second digit are"),
    "image": Field((2,), "int64", "1", (0, 1796), "index of each digit's image in scikit-learn's load_digits"),
    "position": Field((2, "T", 2), "float32", "px", (0, None), "centre of mass of each digit's ink; x right, y down;"
                      " (0, 0) is the centre of the top-left pixel"),
    "velocity": Field((2, "T", 2), "float32", "px/frame", _ANY, "of each digit, after a reflection in that frame"),
    "front": Field((), "int64", "1", (0, 1), "which of both, the first or the second, is in front where they cross"),
    "overlap": Field(("T",), "bool", "1", (0, 1), "whether the front one hides ink of the other that would be seen"),
    "size": Field((), "int64", "px", (0, None), "side of a digit's picture with its blank border"),
    "fps": Field((), "float32", "1/s", (0, None), "frames per second"),
    "seed": Field((), "int64", "1", _ANY, "seed of the spec"),
    "id": Field((), "str", "text", _ANY, "spec/split/index"),
    "version": Field((), "str", "text", _ANY, "of the generator"),
})  # fmt: skip


def digit_shapes(spec: DigitSpec) -> dict[str, tuple[tuple[int, ...], str]]:
    """(shape, dtype) of every field of the examples of ``spec``."""
    sizes = {"T": spec.num_frames, "H": spec.height, "W": spec.width}
    return {name: (tuple(sizes.get(n, n) for n in field.shape), field.dtype) for name, field in DIGIT_FIELDS.items()}


def reflected(
    start: np.ndarray, velocity: np.ndarray, low: np.ndarray, high: np.ndarray, time_T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities (T, 2) of a point that moves at constant speed along each axis between two walls.

    The reflection is exact, at whatever moment between frames the point meets a wall: unfolded, its way is a straight
    line, and a room of length L between walls is one half of a circle of 2 L.

    Args:
      start, velocity: (2,) at time 0, in px and px per frame.
      low, high: (2,) of the walls, in px; ``start`` lies between them.
      time_T: in frames, at least 0.
    """
    length_2 = high - low
    around_T2 = np.mod(start - low + velocity * time_T[:, None], 2.0 * length_2)
    back_T2 = around_T2 >= length_2
    position_T2 = low + np.where(back_T2, 2.0 * length_2 - around_T2, around_T2)
    return position_T2, np.where(back_T2, -velocity, velocity)


def composed(front: tuple[np.ndarray, np.ndarray], back: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, bool]:
    """The picture (H, W) in [0, 1] of two digits as ``Sprite.drawn`` gives them, and whether they overlap.

    They do where the front one hides ink that would be seen; elsewhere the picture is the sum of both.
    """
    (ink_HW, cover_HW), (behind_HW, _) = front, back
    hidden_HW = cover_HW * behind_HW
    return ink_HW + behind_HW - hidden_HW, bool(hidden_HW.max() * 255.0 >= _SEEN)


def draw_digits(sprites: tuple[Sprite, Sprite], position_22: np.ndarray, front: int, height: int, width: int):
    """See ``composed``: of two sprites with their centres at (x, y), ``front`` of them in front."""
    drawn = [own.drawn(place_2, height, width) for own, place_2 in zip(sprites, position_22)]
    return composed(drawn[front], drawn[1 - front])


def film_digits(
    sprites: tuple[Sprite, Sprite], position_2T2: np.ndarray, front: int, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """A clip, uint8 (T, H, W, 3), and in which frames the digits overlap, bool (T,)."""
    frames = [draw_digits(sprites, place_22, front, height, width) for place_22 in np.moveaxis(position_2T2, 1, 0)]
    grey_THW = np.round(255.0 * np.stack([frame for frame, _ in frames])).astype(np.uint8)
    return np.repeat(grey_THW[..., None], 3, axis=-1), np.array([overlap for _, overlap in frames])


def digit_example(spec: DigitSpec, split: str, index: int) -> dict[str, np.ndarray | np.generic | str]:
    """Example ``index`` of ``split``: a dict with the fields of ``DIGIT_FIELDS``.

    Pure: the same bytes on any host, in any order. In its first frame the digits are apart, so that both can be read.

    Raises:
      KeyError: there is no such split.
      IndexError: the index lies outside it.
    """
    size = spec.split_size(split)
    if not 0 <= index < size:
        raise IndexError(f"Index {index} lies outside split {split!r} of {spec.name}, which holds {size} examples.")
    label = index % len(PAIRS)
    image = _images(spec, split, index, PAIRS[label])
    sprites = tuple(sprite(one, spec.size) for one in image)
    front = int(stream(spec.seed, split, index, "front").integers(2))
    position_2T2, velocity_2T2 = _motion(spec, split, index, sprites)
    video_THWC, overlap_T = film_digits(sprites, position_2T2, front, spec.height, spec.width)
    return {
        "video": video_THWC, "label": np.int64(label), "digit": np.array([digit_of(one) for one in image]),
        "image": np.array(image), "position": position_2T2.astype(np.float32),
        "velocity": velocity_2T2.astype(np.float32), "front": np.int64(front), "overlap": overlap_T,
        "size": np.int64(spec.size), "fps": np.float32(spec.fps), "seed": np.int64(spec.seed),
        "id": f"{spec.name}/{split}/{index:06d}", "version": DIGITS_VERSION,
    }  # fmt: skip


def _images(spec: DigitSpec, split: str, index: int, pair: tuple[int, int]) -> tuple[int, int]:
    """Two different images of the pair's digits, in either order."""
    rng = stream(spec.seed, split, index, "digits")
    low, high = pair
    chosen = [int(rng.choice(images_of(split)[low]))]
    others = images_of(split)[high]
    chosen.append(int(rng.choice(others[others != chosen[0]])))
    return tuple(chosen[::-1] if rng.integers(2) else chosen)


def _motion(
    spec: DigitSpec, split: str, index: int, sprites: tuple[Sprite, Sprite]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities (2, T, 2), drawn until the digits are apart in the first frame."""
    rng, time_T = stream(spec.seed, split, index, "motion"), np.arange(spec.num_frames)
    speed_2, heading_2 = rng.uniform(*spec.speed, size=2), rng.uniform(0.0, 2.0 * np.pi, size=2)
    velocity_22 = speed_2[:, None] * np.stack([np.cos(heading_2), np.sin(heading_2)], axis=-1)
    walls = [own.bounds(spec.height, spec.width) for own in sprites]
    while True:
        start_22 = np.stack([rng.uniform(low, high) for low, high in walls])
        if not draw_digits(sprites, start_22, 0, spec.height, spec.width)[1]:
            break
    ways = [reflected(start_2, velocity_2, low, high, time_T)
            for start_2, velocity_2, (low, high) in zip(start_22, velocity_22, walls)]
    return np.stack([way[0] for way in ways]), np.stack([way[1] for way in ways])
