"""The families of trajectories. A new one is one class here: everything else finds it through the registry."""

from dataclasses import dataclass

import numpy as np

from videogvt.core.registry import Registry
from videogvt.world.motion import Family, Launch, Range, turning

GRAVITY = 9.81  # m/s^2, along -z
FAMILIES = Registry("family")


def _reversed_wave(cosine_3, sine_3, rate, duration) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of cos and sin when a wave runs backwards from ``duration``."""
    c, s = np.cos(rate * duration), np.sin(rate * duration)
    return np.round(cosine_3 * c + sine_3 * s, 6), np.round(cosine_3 * s - sine_3 * c, 6)


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


def _drawn(family: type[Family], rng: np.random.Generator, launch: Launch, count: int) -> dict[str, np.ndarray]:
    """Every free parameter of a family, (B, M) each."""
    return {name: bounds.draw(rng, (len(launch.start_B3), count)) for name, bounds in family.ranges.items()}


def _circle(rng, launch: Launch, normal_BM3, velocity_BM3, drawn) -> tuple[np.ndarray, ...]:
    """centre, radial, tangent and rate of the circles about ``normal`` that start with ``velocity``, to either side."""
    rate = 2 * np.pi * drawn["turns"] / launch.duration
    side = np.where(rng.random(rate.shape) < 0.5, -1.0, 1.0)[..., None]
    radial = launch.to_world(side * _cross(normal_BM3, velocity_BM3) / rate[..., None])
    tangent = launch.to_world(velocity_BM3) / rate[..., None]
    return launch.start_world(rate.shape[1]) - radial, radial, tangent, rate


@FAMILIES.register("linear")
@dataclass(frozen=True)
class Linear(Family):
    """A straight line at constant speed: start + speed_vector t."""

    start: np.ndarray
    speed_vector: np.ndarray

    name = "linear"
    ranges = {"depth_speed": Range(-0.9, 0.9, "m/s", "speed along the view of the first camera")}
    captions = (
        "{A_colour} ball moves in a straight line at constant speed.",
        "The {colour} ball travels straight ahead without speeding up or slowing down.",
        "Uniform straight-line motion of {a_colour} ball.",
        "{A_colour} ball glides along a straight path at a steady {speed:.1f} metres per second.",
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

    def reversed(self, duration):
        return Linear(np.round(self.start + self.speed_vector * duration, 6), -self.speed_vector)

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
        "{A_colour} ball moves around a circle at constant speed.",
        "The {colour} ball runs round and round on a circle of radius {radius:.2f} metres.",
        "Uniform circular motion of {a_colour} ball.",
        "{A_colour} ball circles a fixed point.",
    )

    @classmethod
    def draw(cls, rng, launch, count):
        drawn = _drawn(cls, rng, launch, count)
        normal = _tilted_normal(drawn["tilt"], drawn["around"])
        velocity = launch.velocity(launch.depth_speed_along(normal, np.zeros_like(drawn["tilt"])))
        return cls(*_circle(rng, launch, normal, velocity, drawn))

    def position(self, time_T):
        radial, tangent = self.radial[..., None, :], self.tangent[..., None, :]
        return self.centre[..., None, :] + radial * _cosine(self.rate, time_T) + tangent * _sine(self.rate, time_T)

    def velocity(self, time_T):
        rate, radial, tangent = self.rate[..., None, None], self.radial[..., None, :], self.tangent[..., None, :]
        return rate * (tangent * _cosine(self.rate, time_T) - radial * _sine(self.rate, time_T))

    def terms(self, axis):
        turn = f"{self.rate:.6f}*t"
        return [(self.centre[axis], ""), (self.radial[axis], f"cos({turn})"), (self.tangent[axis], f"sin({turn})")]

    def reversed(self, duration):
        return Circular(self.centre, *_reversed_wave(self.radial, self.tangent, self.rate, duration), self.rate)

    @classmethod
    def visible(cls, track_T2):
        size = np.ptp(track_T2, axis=-2)
        total = turning(track_T2).sum(axis=-1)
        return (np.abs(total) >= 1.1 * np.pi) & (size.min(axis=-1) >= 7.0)


@FAMILIES.register("helical")
@dataclass(frozen=True)
class Helical(Circular):
    """A circle carried along its axis: centre + radial cos(rate t) + tangent sin(rate t) + drift t."""

    drift: np.ndarray

    name = "helical"
    ranges = {
        "turns": Range(1.55, 2.1, "turns per clip", "turns of the helix"),
        "tilt": Range(0.5, 1.0, "rad", "angle between the helix's axis and the view of the first camera"),
        "around": Range(0.0, 2 * np.pi, "rad", "direction of the axis in the picture"),
        "drift_share": Range(0.3, 0.75, "of the start speed", "speed along the axis over the speed across the picture"),
    }
    captions = (
        "{A_colour} ball moves along a helix, circling while it drifts.",
        "The {colour} ball follows a corkscrew path.",
        "Helical motion of {a_colour} ball: a circle carried along its axis.",
        "{A_colour} ball spirals forward like the thread of a screw.",
    )

    @classmethod
    def draw(cls, rng, launch, count):
        drawn = _drawn(cls, rng, launch, count)
        normal = _tilted_normal(drawn["tilt"], drawn["around"])
        drift_speed = drawn["drift_share"] * launch.speed_B[:, None]
        drift = drift_speed[..., None] * normal
        circling = launch.velocity(launch.depth_speed_along(normal, drift_speed)) - drift
        return cls(*_circle(rng, launch, normal, circling, drawn), launch.to_world(drift))

    def position(self, time_T):
        return super().position(time_T) + self.drift[..., None, :] * time_T[:, None]

    def velocity(self, time_T):
        return super().velocity(time_T) + self.drift[..., None, :]

    def terms(self, axis):
        return [*super().terms(axis), (self.drift[axis], "t")]

    def reversed(self, duration):
        wave = _reversed_wave(self.radial, self.tangent, self.rate, duration)
        return Helical(np.round(self.centre + self.drift * duration, 6), *wave, self.rate, -self.drift)

    @classmethod
    def visible(cls, track_T2):
        turns, size = turning(track_T2), np.ptp(track_T2, axis=-2)
        total = np.abs(turns.sum(axis=-1))
        one_way = np.abs(turns).sum(axis=-1) <= total + 0.2
        return one_way & (total >= 2.2 * np.pi) & (size.min(axis=-1) >= 7.0) & (size.max(axis=-1) >= 12.0)


@FAMILIES.register("parabolic")
@dataclass(frozen=True)
class Parabolic(Family):
    """A throw under gravity: start + launch_vector t - (0, 0, 9.81/2) t^2."""

    start: np.ndarray
    launch_vector: np.ndarray

    name = "parabolic"
    ranges = {"depth_speed": Range(-0.9, 0.9, "m/s", "launch speed along the view of the first camera")}
    captions = (
        "{A_colour} ball is thrown and falls under gravity.",
        "The {colour} ball follows a parabola, as thrown objects do.",
        "Ballistic flight of {a_colour} ball launched at {speed:.1f} metres per second.",
        "{A_colour} ball arcs through the air and comes down.",
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

    def reversed(self, duration):
        end = np.array([duration])
        return Parabolic(np.round(self.position(end)[0], 6), np.round(-self.velocity(end)[0], 6))

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
        "{A_colour} ball wanders along a smooth random path.",
        "The {colour} ball meanders, bending first one way and then the other.",
        "Smooth irregular motion of {a_colour} ball.",
        "{A_colour} ball drifts about on a winding path.",
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

    def reversed(self, duration):
        slow = _reversed_wave(self.slow_cosine, self.slow_sine, self.slow_rate, duration)
        fast = _reversed_wave(self.fast_cosine, self.fast_sine, self.fast_rate, duration)
        end = np.round(self.position(np.array([duration]))[0], 6)
        return Random(end, -self.drift, *slow, self.slow_rate, *fast, self.fast_rate)

    @classmethod
    def visible(cls, track_T2):
        turns = turning(track_T2)
        left = np.maximum(turns, 0).sum(axis=-1)
        right = np.maximum(-turns, 0).sum(axis=-1)
        inflections = np.sum(turns[..., 1:] * turns[..., :-1] < 0, axis=-1)
        return (np.minimum(left, right) >= 1.0) & (inflections >= 2) & (inflections <= 4)
