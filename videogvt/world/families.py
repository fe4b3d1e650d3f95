"""Families of trajectories: how a class of motion is parametrised, drawn, evaluated, written down and told in words.

A family draws its parameters *given a launch*: the point, image heading and image speed at time 0, which are drawn
before and without the class. So whatever the first frame shows is the same for every family by construction.
Parameters are arrays whose leading axes are free: one instance holds one path or a batch of candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from videogvt.core.registry import Registry

GRAVITY = 9.81  # m/s^2, along -z
FAMILIES = Registry("family")


@dataclass(frozen=True)
class Range:
    """Bounds from which a free parameter is drawn: low and high, in ``unit``."""

    low: float
    high: float
    unit: str
    doc: str

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform in [low, high]."""
        return self.low + (self.high - self.low) * rng.random(shape)


@dataclass(frozen=True)
class Launch:
    """How a path starts, shared by the candidates of all families; B scenes.

    Attributes:
      start_B3: camera-frame start point in metres (x right, y down, z forward).
      across_B2: camera-frame x and y velocity in m/s of a start without depth speed.
      rotation_B33: world to camera at time 0.
      eye_B3: camera centre in the world at time 0.
      duration: seconds from first to last frame.
      length_unit, time_unit: scene over reference lengths and times (see ``WorldSpec``).
    """

    start_B3: np.ndarray
    across_B2: np.ndarray
    rotation_B33: np.ndarray
    eye_B3: np.ndarray
    duration: float
    length_unit: float
    time_unit: float

    @property
    def speed_B(self) -> np.ndarray:
        """Start speed across the picture, m/s."""
        return np.hypot(self.across_B2[:, 0], self.across_B2[:, 1])

    def _ray_B3(self) -> np.ndarray:
        return self.start_B3 / self.start_B3[:, 2:]

    def velocity(self, depth_speed_BM: np.ndarray) -> np.ndarray:
        """Camera-frame start velocity (B, M, 3) with that depth speed and the launch's image velocity."""
        across_B13 = np.concatenate([self.across_B2, np.zeros_like(self.across_B2[:, :1])], axis=1)[:, None]
        return across_B13 + self._ray_B3()[:, None] * depth_speed_BM[..., None]

    def depth_speed_along(self, normal_BM3: np.ndarray, speed_BM: np.ndarray) -> np.ndarray:
        """The depth speed (B, M) for which the start velocity has component ``speed`` along the unit ``normal``."""
        across = normal_BM3[..., 0] * self.across_B2[:, None, 0] + normal_BM3[..., 1] * self.across_B2[:, None, 1]
        return (speed_BM - across) / np.sum(normal_BM3 * self._ray_B3()[:, None], axis=-1)

    def to_world(self, vector_BM3: np.ndarray) -> np.ndarray:
        """Camera-frame directions (B, M, 3) in the world frame."""
        return vector_BM3 @ self.rotation_B33

    def start_world(self, count: int) -> np.ndarray:
        """The world start point, repeated for ``count`` candidates: (B, M, 3)."""
        start_B13 = self.start_B3[:, None] @ self.rotation_B33 + self.eye_B3[:, None]
        return np.repeat(start_B13, count, axis=1)


@dataclass(frozen=True)
class Family:
    """A class of motion; subclasses add parameters as fields, each (..., 3) or (...), in metres and seconds.

    A subclass defines ``ranges`` (what is drawn freely), ``captions`` (wordings), ``draw``, ``position``, ``velocity``,
    ``terms`` (the equation) and ``visible`` (what the first camera must see for the class to be recognised).
    """

    name: ClassVar[str]
    ranges: ClassVar[Mapping[str, Range]]
    captions: ClassVar[tuple[str, ...]]

    @classmethod
    def draw(cls, rng: np.random.Generator, launch: Launch, count: int) -> "Family":
        """``count`` candidates for each of the launch's B scenes; parameters lead with (B, M)."""
        raise NotImplementedError

    def position(self, time_T: np.ndarray) -> np.ndarray:
        """World positions (..., T, 3) in metres at times in seconds."""
        raise NotImplementedError

    def velocity(self, time_T: np.ndarray) -> np.ndarray:
        """World velocities (..., T, 3) in m/s at times in seconds."""
        raise NotImplementedError

    def terms(self, axis: int) -> list[tuple[float, str]]:
        """(coefficient, factor in t) pairs whose sum is the coordinate ``axis`` of one path."""
        raise NotImplementedError

    @classmethod
    def visible(cls, track_T2: np.ndarray) -> np.ndarray:
        """Whether tracks (..., T, 2), in reference pixels of the first camera, show the class: (...) bool."""
        raise NotImplementedError

    def select(self, index) -> "Family":
        """One path of a batch, its parameters rounded to 1e-6, the precision at which they are published."""
        return type(self)(**{f.name: np.round(getattr(self, f.name)[index], 6) for f in fields(self)})

    def parameters(self) -> dict[str, float | list[float]]:
        """The parameters as plain numbers and lists, ready for JSON."""
        return {f.name: np.asarray(getattr(self, f.name)).tolist() for f in fields(self)}

    def mirrored(self, normal_3: np.ndarray) -> "Family":
        """The path reflected in the vertical plane through the origin with that unit normal (z component 0).

        Gravity is vertical, so the mirror image of every family's path is again a path of the family.
        """
        reflect = np.eye(3) - 2.0 * np.outer(normal_3, normal_3)
        values = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        return type(self)(**{name: v @ reflect if v.shape[-1:] == (3,) else v for name, v in values.items()})

    def perturbed(self, rng: np.random.Generator, scale: float) -> "Family":
        """The path with every parameter multiplied by a normal factor of mean 1 and deviation ``scale``."""
        values = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        factors = {name: 1.0 + scale * rng.standard_normal(v.shape) for name, v in values.items()}
        return type(self)(**{name: np.round(v * factors[name], 6) for name, v in values.items()})


def turning(track_T2: np.ndarray) -> np.ndarray:
    """Signed turns in radians between successive steps of tracks (..., T, 2): (..., T - 2), in (-pi, pi]."""
    step = track_T2[..., 1:, :] - track_T2[..., :-1, :]
    a, b = step[..., :-1, :], step[..., 1:, :]
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return np.arctan2(cross, np.sum(a * b, axis=-1))


def _cosine(rate, phase_T):
    return np.cos(np.asarray(rate)[..., None] * phase_T)[..., None]


def _sine(rate, phase_T):
    return np.sin(np.asarray(rate)[..., None] * phase_T)[..., None]


def _cross(a_3: np.ndarray, b_3: np.ndarray) -> np.ndarray:
    ax, ay, az, bx, by, bz = (v[..., i] for v in (a_3, b_3) for i in range(3))
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _tilted_normal(tilt: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Unit vectors in the camera frame at an angle ``tilt`` from the viewing direction, ``around`` it."""
    return np.stack([np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt)], axis=-1)


@FAMILIES.register("linear")
@dataclass(frozen=True)
class Linear(Family):
    """A straight line at constant speed: start + speed_vector t."""

    start: np.ndarray
    speed_vector: np.ndarray

    name = "linear"
    ranges = {"depth_speed": Range(-0.9, 0.9, "m/s", "speed along the view of the first camera")}
    captions = (
        "A {colour} ball moves in a straight line at constant speed.",
        "The {colour} ball travels straight ahead without speeding up or slowing down.",
        "Uniform straight-line motion of a {colour} ball.",
        "A {colour} ball glides along a straight path at a steady {speed:.1f} metres per second.",
    )

    @classmethod
    def draw(cls, rng, launch, count):
        depth_speed = cls.ranges["depth_speed"].draw(rng, (len(launch.start_B3), count))
        velocity = launch.velocity(depth_speed * launch.length_unit / launch.time_unit)
        return cls(launch.start_world(count), launch.to_world(velocity))

    def position(self, time_T):
        return self.start[..., None, :] + self.speed_vector[..., None, :] * time_T[:, None]

    def velocity(self, time_T):
        return self.speed_vector[..., None, :] + np.zeros((len(time_T), 3))

    def terms(self, axis):
        return [(self.start[axis], ""), (self.speed_vector[axis], "t")]

    @classmethod
    def visible(cls, track_T2):
        return np.hypot(*np.moveaxis(track_T2[..., -1, :] - track_T2[..., 0, :], -1, 0)) >= 20.0


@FAMILIES.register("circular")
@dataclass(frozen=True)
class Circular(Family):
    """Uniform motion on a circle: centre + radial cos(rate t) + tangent sin(rate t), two equal orthogonal vectors."""

    centre: np.ndarray
    radial: np.ndarray
    tangent: np.ndarray
    rate: np.ndarray

    name = "circular"
    ranges = {
        "turns": Range(0.68, 1.1, "turns per clip", "share of the circle that is run through"),
        "tilt": Range(0.0, 0.9, "rad", "angle between the circle's axis and the view of the first camera"),
        "around": Range(0.0, 2 * np.pi, "rad", "direction of the tilt in the picture"),
    }
    captions = (
        "A {colour} ball moves around a circle at constant speed.",
        "The {colour} ball runs round and round on a circle of radius {radius:.2f} metres.",
        "Uniform circular motion of a {colour} ball.",
        "A {colour} ball circles a fixed point.",
    )

    @classmethod
    def draw(cls, rng, launch, count):
        shape = (len(launch.start_B3), count)
        drawn = {name: bounds.draw(rng, shape) for name, bounds in cls.ranges.items()}
        normal = _tilted_normal(drawn["tilt"], drawn["around"])
        velocity = launch.velocity(launch.depth_speed_along(normal, np.zeros(shape)))
        rate = 2 * np.pi * drawn["turns"] / launch.duration
        side = np.where(rng.random(shape) < 0.5, -1.0, 1.0)[..., None]
        radial = launch.to_world(side * _cross(normal, velocity) / rate[..., None])
        return cls(launch.start_world(count) - radial, radial, launch.to_world(velocity) / rate[..., None], rate)

    def position(self, time_T):
        radial, tangent = self.radial[..., None, :], self.tangent[..., None, :]
        return self.centre[..., None, :] + radial * _cosine(self.rate, time_T) + tangent * _sine(self.rate, time_T)

    def velocity(self, time_T):
        rate, radial, tangent = self.rate[..., None, None], self.radial[..., None, :], self.tangent[..., None, :]
        return rate * (tangent * _cosine(self.rate, time_T) - radial * _sine(self.rate, time_T))

    def terms(self, axis):
        turn = f"{self.rate:.6f}*t"
        return [(self.centre[axis], ""), (self.radial[axis], f"cos({turn})"), (self.tangent[axis], f"sin({turn})")]

    @classmethod
    def visible(cls, track_T2):
        size = np.ptp(track_T2, axis=-2)
        total = turning(track_T2).sum(axis=-1)
        return (np.abs(total) >= 1.1 * np.pi) & (size.min(axis=-1) >= 6.0)


@FAMILIES.register("helical")
@dataclass(frozen=True)
class Helical(Family):
    """A circle carried along its axis: centre + radial cos(rate t) + tangent sin(rate t) + drift t."""

    centre: np.ndarray
    radial: np.ndarray
    tangent: np.ndarray
    drift: np.ndarray
    rate: np.ndarray

    name = "helical"
    ranges = {
        "turns": Range(1.55, 2.1, "turns per clip", "turns of the helix"),
        "tilt": Range(0.5, 1.0, "rad", "angle between the helix's axis and the view of the first camera"),
        "around": Range(0.0, 2 * np.pi, "rad", "direction of the axis in the picture"),
        "drift_share": Range(0.3, 0.75, "of the start speed", "speed along the axis over the speed across the picture"),
    }
    captions = (
        "A {colour} ball moves along a helix, circling while it drifts.",
        "The {colour} ball follows a corkscrew path.",
        "Helical motion of a {colour} ball: a circle carried along its axis.",
        "A {colour} ball spirals forward like the thread of a screw.",
    )

    @classmethod
    def draw(cls, rng, launch, count):
        shape = (len(launch.start_B3), count)
        drawn = {name: bounds.draw(rng, shape) for name, bounds in cls.ranges.items()}
        normal = _tilted_normal(drawn["tilt"], drawn["around"])
        drift_speed = drawn["drift_share"] * launch.speed_B[:, None]
        velocity = launch.velocity(launch.depth_speed_along(normal, drift_speed))
        circling = velocity - drift_speed[..., None] * normal
        rate = 2 * np.pi * drawn["turns"] / launch.duration
        side = np.where(rng.random(shape) < 0.5, -1.0, 1.0)[..., None]
        radial = launch.to_world(side * _cross(normal, circling) / rate[..., None])
        drift = launch.to_world(drift_speed[..., None] * normal)
        tangent = launch.to_world(circling) / rate[..., None]
        return cls(launch.start_world(count) - radial, radial, tangent, drift, rate)

    def position(self, time_T):
        radial, tangent = self.radial[..., None, :], self.tangent[..., None, :]
        circle = self.centre[..., None, :] + radial * _cosine(self.rate, time_T) + tangent * _sine(self.rate, time_T)
        return circle + self.drift[..., None, :] * time_T[:, None]

    def velocity(self, time_T):
        rate, radial, tangent = self.rate[..., None, None], self.radial[..., None, :], self.tangent[..., None, :]
        circling = rate * (tangent * _cosine(self.rate, time_T) - radial * _sine(self.rate, time_T))
        return circling + self.drift[..., None, :]

    def terms(self, axis):
        turn = f"{self.rate:.6f}*t"
        circle = [(self.centre[axis], ""), (self.radial[axis], f"cos({turn})"), (self.tangent[axis], f"sin({turn})")]
        return [*circle, (self.drift[axis], "t")]

    @classmethod
    def visible(cls, track_T2):
        turns = turning(track_T2)
        one_way = np.abs(turns).sum(axis=-1) <= np.abs(turns.sum(axis=-1)) + 0.2
        size = np.ptp(track_T2, axis=-2)
        return one_way & (np.abs(turns.sum(axis=-1)) >= 2.2 * np.pi) & (size.min(axis=-1) >= 6.0)


@FAMILIES.register("parabolic")
@dataclass(frozen=True)
class Parabolic(Family):
    """A throw under gravity: start + launch_vector t - (0, 0, 9.81/2) t^2."""

    start: np.ndarray
    launch_vector: np.ndarray

    name = "parabolic"
    ranges = {"depth_speed": Range(-0.9, 0.9, "m/s", "launch speed along the view of the first camera")}
    captions = (
        "A {colour} ball is thrown and falls under gravity.",
        "The {colour} ball follows a parabola, as thrown objects do.",
        "Ballistic flight of a {colour} ball launched at {speed:.1f} metres per second.",
        "A {colour} ball arcs through the air and comes down.",
    )

    @classmethod
    def draw(cls, rng, launch, count):
        depth_speed = cls.ranges["depth_speed"].draw(rng, (len(launch.start_B3), count))
        velocity = launch.velocity(depth_speed * launch.length_unit / launch.time_unit)
        return cls(launch.start_world(count), launch.to_world(velocity))

    def position(self, time_T):
        flight = self.start[..., None, :] + self.launch_vector[..., None, :] * time_T[:, None]
        flight[..., 2] -= 0.5 * GRAVITY * time_T**2
        return flight

    def velocity(self, time_T):
        velocity = self.launch_vector[..., None, :] + np.zeros((len(time_T), 3))
        velocity[..., 2] -= GRAVITY * time_T
        return velocity

    def terms(self, axis):
        throw = [(self.start[axis], ""), (self.launch_vector[axis], "t")]
        return [*throw, (-0.5 * GRAVITY, "t**2")] if axis == 2 else throw

    @classmethod
    def visible(cls, track_T2):
        chord = track_T2[..., -1, :] - track_T2[..., 0, :]
        middle = track_T2[..., track_T2.shape[-2] // 2, :] - track_T2[..., 0, :]
        bend = np.abs(chord[..., 0] * middle[..., 1] - chord[..., 1] * middle[..., 0])
        sagitta = bend / np.maximum(np.hypot(chord[..., 0], chord[..., 1]), 1e-9)
        return (sagitta >= 4.0) & (np.abs(chord[..., 0]) >= 12.0)


@FAMILIES.register("random")
@dataclass(frozen=True)
class Random(Family):
    """A smooth random path: start + drift t + two waves, each cosine (cos(rate t) - 1) + sine sin(rate t)."""

    start: np.ndarray
    drift: np.ndarray
    slow_cosine: np.ndarray
    slow_sine: np.ndarray
    slow_rate: np.ndarray
    fast_cosine: np.ndarray
    fast_sine: np.ndarray
    fast_rate: np.ndarray

    name = "random"
    ranges = {
        "slow_cycles": Range(0.55, 0.95, "cycles per clip", "frequency of the slow wave"),
        "fast_cycles": Range(1.25, 1.65, "cycles per clip", "frequency of the fast wave"),
        "slow_size": Range(0.3, 0.55, "m", "amplitude of the slow wave"),
        "fast_size": Range(0.16, 0.28, "m", "amplitude of the fast wave"),
        "direction": Range(0.0, 2 * np.pi, "rad", "direction of a wave in the picture; it leans at most 0.5 in depth"),
        "phase": Range(0.0, 2 * np.pi, "rad", "phase of a wave"),
    }
    captions = (
        "A {colour} ball wanders along a smooth random path.",
        "The {colour} ball meanders, bending first one way and then the other.",
        "Smooth irregular motion of a {colour} ball.",
        "A {colour} ball drifts about on a winding path.",
    )

    @classmethod
    def draw(cls, rng, launch, count):
        shape = (len(launch.start_B3), count)
        waves, start_speed = [], 0.0
        for kind in ("slow", "fast"):
            rate = 2 * np.pi * cls.ranges[f"{kind}_cycles"].draw(rng, shape) / launch.duration
            size = cls.ranges[f"{kind}_size"].draw(rng, shape) * launch.length_unit
            direction, phase = (cls.ranges[name].draw(rng, shape) for name in ("direction", "phase"))
            lean = rng.random(shape) - 0.5
            axis = np.stack([np.cos(direction), np.sin(direction), lean], axis=-1) * size[..., None]
            cosine, sine = axis * np.cos(phase)[..., None], axis * np.sin(phase)[..., None]
            start_speed = start_speed + sine * rate[..., None]
            waves += [launch.to_world(cosine), launch.to_world(sine), rate]
        drift = launch.velocity(start_speed[..., 2]) - start_speed  # no net depth speed at the start
        return cls(launch.start_world(count), launch.to_world(drift), *waves)

    def position(self, time_T):
        path = self.start[..., None, :] + self.drift[..., None, :] * time_T[:, None]
        for cosine, sine, rate in self._waves():
            path = path + cosine * (_cosine(rate, time_T) - 1.0) + sine * _sine(rate, time_T)
        return path

    def velocity(self, time_T):
        velocity = self.drift[..., None, :] + np.zeros((len(time_T), 3))
        for cosine, sine, rate in self._waves():
            waving = sine * _cosine(rate, time_T) - cosine * _sine(rate, time_T)
            velocity = velocity + rate[..., None, None] * waving
        return velocity

    def _waves(self):
        for kind in ("slow", "fast"):
            cosine, sine = getattr(self, f"{kind}_cosine"), getattr(self, f"{kind}_sine")
            yield cosine[..., None, :], sine[..., None, :], getattr(self, f"{kind}_rate")

    def terms(self, axis):
        offset = self.start[axis] - self.slow_cosine[axis] - self.fast_cosine[axis]
        waves = []
        for kind in ("slow", "fast"):
            turn = f"{getattr(self, f'{kind}_rate'):.6f}*t"
            cosine, sine = getattr(self, f"{kind}_cosine")[axis], getattr(self, f"{kind}_sine")[axis]
            waves += [(cosine, f"cos({turn})"), (sine, f"sin({turn})")]
        return [(offset, ""), (self.drift[axis], "t"), *waves]

    @classmethod
    def visible(cls, track_T2):
        turns = turning(track_T2)
        left = np.maximum(turns, 0).sum(axis=-1)
        right = np.maximum(-turns, 0).sum(axis=-1)
        inflections = np.sum(turns[..., 1:] * turns[..., :-1] < 0, axis=-1)
        return (np.minimum(left, right) >= 1.0) & (inflections >= 2) & (inflections <= 4)
