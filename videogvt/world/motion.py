"""What a family of trajectories is: its free parameters, how a path starts, and what every family must define.

A family draws its parameters *given a launch*: the point, image heading and image speed at time 0, which are drawn
before and without the class. So whatever the first frame shows is the same for every family by construction.
Parameters are arrays whose leading axes are free: one instance holds one path or a batch of candidates.

The equation of a path as text in t (seconds), and a safe reader for such texts.
"""

import ast
import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

POINTS = ("start", "centre")  # parameters that are places; the other vectors are directions


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
    ``terms`` (the equation), ``reversed`` and ``visible`` (what the first camera must see for the class to be
    recognised). Wordings may use {colour}, {a_colour}, {A_colour}, {speed} in m/s and, of circles, {radius} in m.
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

    def placed(self, turn_33: np.ndarray, shift_3: np.ndarray) -> "Family":
        """The path x -> turn x + shift of a family whose motion survives it: ``turn`` is a rotation about the vertical
        or a mirror image in a vertical plane, so gravity still points down."""
        values = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        moved = {name: v @ turn_33.T + shift_3 * (name in POINTS) if v.ndim else v for name, v in values.items()}
        return type(self)(**{name: np.round(v, 6) for name, v in moved.items()})

    def reversed(self, duration: float) -> "Family":
        """The path run backwards, from where it is after ``duration`` seconds to its start."""
        raise NotImplementedError


def turning(track_T2: np.ndarray) -> np.ndarray:
    """Signed turns in radians between successive steps of tracks (..., T, 2): (..., T - 2), in (-pi, pi]."""
    step = track_T2[..., 1:, :] - track_T2[..., :-1, :]
    a, b = step[..., :-1, :], step[..., 1:, :]
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return np.arctan2(cross, np.sum(a * b, axis=-1))


_NAMES = {"pi": np.pi}
_CALLS = {"sin": np.sin, "cos": np.cos, "sqrt": np.sqrt}
_BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip


def equation_text(family) -> str:
    """``x = ...; y = ...; z = ...`` in metres, of one path of a ``Family``."""
    return "; ".join(f"{name} = {_sum_text(family.terms(axis))}" for axis, name in enumerate("xyz"))


def _sum_text(terms: list[tuple[float, str]]) -> str:
    text = ""
    for coefficient, factor in terms:
        number = f"{abs(coefficient):.6f}" + (f"*{factor}" if factor else "")
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {number}" if text else ("-" if coefficient < 0 else "") + number
    return text


def evaluate_equation(text: str, time_T: np.ndarray) -> np.ndarray:
    """World positions (T, 3) of an equation ``x = ...; y = ...; z = ...`` at times in seconds.

    Only numbers, ``t``, ``pi``, ``sin``, ``cos``, ``sqrt``, brackets and ``+ - * / **`` are understood; anything else
    is a ``ValueError`` that names it.
    """
    parts = [part.split("=", 1) for part in text.split(";")]
    if [part[0].strip() for part in parts] != ["x", "y", "z"]:
        raise ValueError(f"An equation reads 'x = ...; y = ...; z = ...'; this one reads {text!r}.")
    time_T = np.asarray(time_T, dtype=np.float64)
    values = [_value(ast.parse(part[1].strip(), mode="eval").body, time_T) for part in parts]
    return np.stack(np.broadcast_arrays(*values, time_T)[:3], axis=-1)


def _value(node: ast.AST, time_T: np.ndarray):
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id="t"):
            return time_T
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, time_T)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, time_T), _value(right, time_T))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _CALLS:
            return _CALLS[name](_value(argument, time_T))
    legal = "numbers, t, pi, sin, cos, sqrt, + - * / **"
    raise ValueError(f"An equation may not hold {ast.unparse(node)!r}; it holds {legal}.")
