"""What a world is: the frozen description that, with a split and an index, determines an example to the byte."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from videogvt.core.registry import unknown_name


def stream(seed: int, split: str, index: int, purpose: str) -> np.random.Generator:
    """A Philox generator that depends on nothing but its arguments.

    Streams of different purposes are independent, so a new purpose never shifts the draws of another.
    """
    digest = hashlib.sha256(f"{seed}/{split}/{index}/{purpose}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


VERSION = "1.0.0"  # of the generator: the bytes of an example change only together with this number

_RIGS = ("mono", "stereo", "ring", "moving")
BACKGROUNDS = ("white", "plain", "grid", "texture")
REFERENCE_SIZE = 64.0  # pixels: the short side for which pixel measures of the scene are stated
REFERENCE_DURATION = 15 / 24.0  # seconds: first to last frame of the clip for which lengths and speeds are stated


@dataclass(frozen=True)
class WorldSpec:
    """Everything that determines an example besides its split and index.

    Attributes:
      name: of the spec, the first part of every ``id``.
      families: trajectory families in label order; the label of example ``index`` is ``index % len(families)``.
      num_frames, height, width: size of the video, in frames and pixels.
      tail: last frames for which the scene was not drawn: the motion goes on in them, and the ball may leave the
        picture. So a spec of longer clips begins with those of another. Not for cameras that move.
      fps: frames per second, which is also the clock of the motion.
      seed: of the whole world; another seed is another data set.
      rig: ``mono``, ``stereo`` (rectified pair), ``ring`` (``num_cameras`` around the scene) or ``moving``.
      num_cameras: S; 1 for mono and moving, 2 for stereo, 2 or more for ring.
      background: ``white``, ``plain`` (a light colour per clip), ``grid`` (ground plane) or ``texture``.
      trail: number of earlier frames whose ball is left behind as a fading shadow, 0 for none.
      motion_blur: open share of the frame interval, 0 (none) to 1.
      sensor_noise: standard deviation of the pixel noise, in units of full scale (0 to 0.2).
      distractors: number of still square objects behind the ball.
      occluders: number of vertical posts in front of the ball.
      measurement_noise: standard deviation of ``measured_position`` as a share of the path's extent, 0 to 0.02.
      splits: (name, number of examples) pairs. The split ``ood`` draws camera elevation, speed and ball radius
        from ranges that no other split uses.
    """

    name: str
    families: tuple[str, ...] = ("linear", "circular", "helical", "parabolic", "random")
    num_frames: int = 16
    height: int = 64
    width: int = 64
    fps: float = 24.0
    seed: int = 0
    rig: str = "mono"
    num_cameras: int = 1
    background: str = "white"
    trail: int = 0
    motion_blur: float = 0.0
    sensor_noise: float = 0.0
    distractors: int = 0
    occluders: int = 0
    measurement_noise: float = 0.0
    tail: int = 0
    splits: tuple[tuple[str, int], ...] = (("train", 8000), ("validation", 2000), ("test", 2000), ("ood", 2000))

    def __post_init__(self):
        if not self.families or len(set(self.families)) != len(self.families):
            raise ValueError(f"families is {self.families}; a world has at least one family and none of them twice.")
        if self.rig not in _RIGS:
            raise ValueError(unknown_name("rig", self.rig, _RIGS))
        if self.background not in BACKGROUNDS:
            raise ValueError(unknown_name("background", self.background, BACKGROUNDS))
        if self.tail and self.rig == "moving":
            raise ValueError(f"tail is {self.tail}; a moving camera rests at the clip's end, and has none.")
        least, most = {"mono": (1, 1), "moving": (1, 1), "stereo": (2, 2), "ring": (2, 16)}[self.rig]
        if not least <= self.num_cameras <= most:
            raise ValueError(f"num_cameras is {self.num_cameras}; the rig {self.rig!r} takes {least} to {most}.")
        if self.tail < 0 or self.drawn_frames < 8 or min(self.height, self.width) < 32:
            raise ValueError(
                f"The clip is {self.num_frames}x{self.height}x{self.width} with a tail of {self.tail}; the families are"
                " told apart from 8 frames of 32x32 pixels upwards, without the tail."
            )
        bounds = {"motion_blur": 1.0, "sensor_noise": 0.2, "measurement_noise": 0.02}
        for name, most in bounds.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0 to {most}.")

    @property
    def duration(self) -> float:
        """Seconds from the first to the last frame before the tail."""
        return (self.drawn_frames - 1) / self.fps

    @property
    def drawn_frames(self) -> int:
        """Frames before the tail, in which the whole ball is in the picture."""
        return self.num_frames - self.tail

    @property
    def pixel_unit(self) -> float:
        """Pixels of this spec per reference pixel (64 on the short side)."""
        return min(self.height, self.width) / REFERENCE_SIZE

    @property
    def time_unit(self) -> float:
        """The clip's duration over the reference duration."""
        return self.duration / REFERENCE_DURATION

    @property
    def length_unit(self) -> float:
        """Scene lengths over reference ones: a longer clip shows a larger scene, so that gravity bends a throw by the
        same share of the picture."""
        return self.time_unit**2

    def with_train(self, clips: int) -> "WorldSpec":
        """The same world with so many training clips: the first ones are this spec's, but for the name in their ``id``.

        It is called "mono64_train100000"; the other splits are the same.
        """
        if clips < 1:
            raise ValueError(f"The training split of {self.name!r} was asked for {clips} clips; it needs at least 1.")
        self.split_size("train")
        splits = tuple((name, clips if name == "train" else size) for name, size in self.splits)
        return replace(self, name=f"{self.name}_train{clips}", splits=splits)

    def settings(self) -> dict[str, object]:
        """What determines the examples; without a tail of 0, of which data sets built earlier know nothing."""
        return {name: value for name, value in vars(self).items() if name != "tail" or value}

    def split_size(self, split: str) -> int:
        """Number of examples of ``split``; an unknown split is a ``KeyError`` that lists the legal ones."""
        sizes = dict(self.splits)
        if split not in sizes:
            raise KeyError(unknown_name("split", split, sizes))
        return sizes[split]


_MONO64 = WorldSpec("mono64")
_SMALL = (("train", 2000), ("validation", 500), ("test", 500), ("ood", 500))

SPECS: Mapping[str, WorldSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            _MONO64,
            replace(_MONO64, name="mono64_17", num_frames=17, tail=1),
            replace(_MONO64, name="mono128", height=128, width=128),
            replace(_MONO64, name="stereo64", rig="stereo", num_cameras=2, splits=_SMALL),
            replace(_MONO64, name="ring64", rig="ring", num_cameras=4, splits=_SMALL),
            replace(_MONO64, name="moving64", rig="moving", background="grid", splits=_SMALL),
            replace(
                _MONO64, name="hard64", background="grid", motion_blur=0.5, sensor_noise=0.02, distractors=2,
                occluders=1, measurement_noise=0.01,
            ),
            replace(_MONO64, name="classic4", families=("linear", "circular", "helical", "parabolic")),
            replace(_MONO64, name="report4", families=("linear", "circular", "parabolic", "random")),
            replace(
                _MONO64, name="mono64_30k",
                splits=(("train", 30000), ("validation", 2000), ("test", 2000), ("ood", 2000)),
            ),
            replace(
                _MONO64, name="tiny", num_frames=8, height=32, width=32, fps=12.0,
                splits=(("train", 40), ("validation", 20), ("test", 20), ("ood", 20)),
            ),
        )
    }
)
