"""The ten tasks of MAGVIT (arXiv 2212.05199, section 3.2 and appendix B) as rows of one table, and the table as data.

A task says which pixels of a clip are given. From them alone a whole clip, the condition video, is padded and encoded;
the tokens of supervoxels with a given pixel then condition the transformer. Everything is an array indexed by the
number of a task, so that one compiled function serves all tasks, also mixed within a batch.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import Registry, unknown_name
from videogvt.models.vocabulary import Vocabulary
from videogvt.ops import regions

_Padding = Literal["extend", "zeros"]
Rule = Literal["paper", "released"]
Mixing = Literal["step", "sample"]

SLOTS = 100
"""Steps that a task of average weight gets in one cycle (as in the released code)."""

TASKS = Registry("task")


@dataclasses.dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
      name: with numbers of given frames where they are not the usual ones: "FP", "FP:8", "FI:2,3".
      family: which of the vocabulary's task tokens it has.
      region: of the given cells, a function of a grid's shape and ``given``.
      padding: of the condition video. "extend" repeats the nearest given pixel in space and the nearest given frame in
        time, and fades linearly between two given frames; it wants a region that is a product of frames, rows and
        columns. "zeros" is black.
      class_conditional: whether the label is given too.
      given: numbers of given frames for ``region``.
    """

    name: str
    family: str
    region: Callable[..., np.ndarray]
    padding: _Padding
    class_conditional: bool = False
    given: tuple[int, ...] = ()

    def visible(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The given cells (T, H, W), bool, of a clip or of a latent grid with as many latent frames in ``given``."""
        return np.asarray(self.region(shape, *self.given))


for _row in (
    Task("FP", "frame_prediction", regions.first_frames, "extend", given=(1,)),
    Task("FI", "frame_interpolation", regions.end_frames, "extend", given=(1, 1)),
    Task("OPC", "outpainting", regions.centre, "extend"),
    Task("OPV", "outpainting", regions.vertical_strip, "extend"),
    Task("OPH", "outpainting", regions.horizontal_strip, "extend"),
    Task("OPD", "outpainting", regions.sliding_strip, "zeros"),
    Task("IPC", "inpainting", regions.around_centre, "zeros"),
    Task("IPD", "inpainting", regions.around_sliding_centre, "zeros"),
    Task("CG", "full_generation", regions.no_frames, "zeros", class_conditional=True),
    Task("CFP", "frame_prediction", regions.first_frames, "extend", class_conditional=True, given=(1,)),
):
    TASKS.register(_row.name)(_row)


def parse_task(name: str, num_frames: int) -> Task:
    """The task of a name such as "FP", "CFP:5" or "FI:2,3", for clips of ``num_frames`` frames.

    Raises:
      ValueError: the name is unknown, or its numbers of given frames are not positive, too many or too few, or leave
        no frame hidden.
    """
    base, colon, text = name.partition(":")
    if base not in TASKS:
        raise ValueError(unknown_name("task", name, TASKS))
    task, given = TASKS[base], TASKS[base].given
    if colon:
        numbers = text.split(",")
        if not given:
            raise ValueError(f"Task {name!r}: {base} has no number of given frames; write {base!r}.")
        if len(numbers) != len(given) or not all(number.strip().isdecimal() for number in numbers):
            example = f"{base}:{','.join('23'[:len(given)])}"
            raise ValueError(f"Task {name!r}: {base} takes {len(given)} number(s) of given frames, as in {example!r}.")
        given = tuple(map(int, numbers))
    if given and not (min(given) >= 1 and sum(given) < num_frames):
        raise ValueError(
            f"Task {name!r} gives {' + '.join(map(str, given))} frames of clips of {num_frames}; it must give at least "
            f"one at each named end, and at most {num_frames - 1} in all.")
    return dataclasses.replace(task, name=name, given=given)


@dataclasses.dataclass(frozen=True, eq=False)
class TaskTable:
    """Tasks for clips of one shape, as arrays over n tasks; make one with ``build``.

    A task is the position of its name. The methods take positions as int32 arrays, traced ones as well.

    Attributes:
      names: of the tasks, as asked for.
      vocabulary: which names the prefix tokens.
      rule: of tokens that are conditioned, see ``build``.
      visible_nTHW, visible_nthw: given pixels, and tokens that are conditioned, bool.
      in_part_n: whether any of these tokens has pixels that are not given, bool.
      before_nT, after_nT, fade_nT: a frame of a condition video is frame ``before`` faded into ``after`` by this share.
      row_nH, column_nW: pixel (i, j) of a condition video is that of this row and column.
      filled_n: whether what is not given has the colour ``fill`` instead.
      fill: black, 0, or the background's value.
      family_n: ids of the task tokens, 0 in a vocabulary without them.
      class_conditional_n: whether the label is given.
      cycle: which task each step of one cycle draws.
      shares_n: of the tasks, they sum to 1.
      mixing: see ``build``.
    """

    names: tuple[str, ...]
    vocabulary: Vocabulary
    rule: Rule
    visible_nTHW: np.ndarray
    visible_nthw: np.ndarray
    in_part_n: np.ndarray
    before_nT: np.ndarray
    after_nT: np.ndarray
    fade_nT: np.ndarray
    row_nH: np.ndarray
    column_nW: np.ndarray
    filled_n: np.ndarray
    fill: float
    family_n: np.ndarray
    class_conditional_n: np.ndarray
    cycle: np.ndarray
    shares_n: np.ndarray
    mixing: Mixing

    @classmethod
    def build(cls, names: Sequence[str], *, video_shape: tuple[int, int, int], latent_shape: tuple[int, int, int],
              vocabulary: Vocabulary, rule: Rule = "paper", released_prefix: bool = False,
              background: float | None = None, weights: Sequence[float] | None = None,
              mixing: Mixing = "step", lead: int = 0) -> "TaskTable":
        """A table of the named tasks.

        Args:
          names: see ``parse_task``.
          video_shape, latent_shape: (T, H, W) and (t, h, w), which divides it, after the lead in both.
          rule: "paper" conditions the tokens with any given pixel; "released" draws each region on the latent grid,
            as the released code does, so that sliding strips are half the width there too. They differ for OPD and IPD.
          released_prefix: inpainting gets the token of outpainting, as in the released code.
          background: in [0, 1], what hides pixels of frames that are given in part; None for the paper's padding,
            black or extended from the edge, of which a tokenizer of small objects has never seen the like.
          weights: of the tasks when they are drawn, in any unit; None is equal weights.
          mixing: "step" draws one task for a whole batch, exactly balanced over a cycle of steps; "sample" draws one
            for each sample at random.
          lead: frames at the beginning that have a latent frame each: 1 of a causal tokenizer, or 0.

        Raises:
          ValueError: names are missing, unknown or double, shapes do not divide, weights or background are not usable.
        """
        _check(names, video_shape, latent_shape, rule, mixing, background, lead)
        tasks = [parse_task(name, video_shape[0]) for name in names]
        stride, *sides = (n // m for n, m in zip(_after(lead, video_shape), _after(lead, latent_shape)))
        strides, before = [max(stride, 1), *sides], max(stride - 1, 0) * lead  # frames that the first cell lacks
        visible_nTHW = np.stack([task.visible(video_shape) for task in tasks])
        padded_nTHW = np.pad(visible_nTHW, ((0, 0), (before, 0), (0, 0), (0, 0)))
        if rule == "paper":
            visible_nthw = np.stack([regions.pool_visible(visible_THW, strides) for visible_THW in padded_nTHW])
        else:
            visible_nthw = np.stack([_on_latents(task, strides[0], before).visible(latent_shape) for task in tasks])
        lacking_nthw = np.stack([regions.pool_visible(~visible_THW, strides) for visible_THW in padded_nTHW])
        cut_n = (visible_nTHW.any((2, 3)) & ~visible_nTHW.all((2, 3))).any(1)
        filled_n = np.asarray([task.padding == "zeros" for task in tasks]) | cut_n & (background is not None)
        shares_n = _shares(names, weights)
        slots = np.repeat(np.arange(len(names)), np.maximum(np.round(SLOTS * len(names) * shares_n), 1).astype(int))
        return cls(
            names=tuple(names), vocabulary=vocabulary, rule=rule, visible_nTHW=visible_nTHW, visible_nthw=visible_nthw,
            in_part_n=(visible_nthw & lacking_nthw).any((1, 2, 3)), **_sources(tasks, visible_nTHW),
            filled_n=filled_n, fill=background or 0.0,
            family_n=np.asarray([_family(task, vocabulary, released_prefix) for task in tasks], np.int32),
            class_conditional_n=np.asarray([task.class_conditional for task in tasks]),
            cycle=np.random.default_rng(0).permutation(slots).astype(np.int32), shares_n=shares_n, mixing=mixing)

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that change with the condition videos: with the tasks, their order and the padding."""
        arrays = (self.visible_nTHW, self.before_nT, self.after_nT, self.fade_nT, self.row_nH, self.column_nW,
                  self.filled_n, np.float32(self.fill))
        return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]

    @property
    def needs_condition(self) -> bool:
        """Whether any task is given pixels; otherwise no condition video need be encoded."""
        return bool(self.visible_nTHW.any())

    def index(self, name: str) -> int:
        """The position of a task; an unknown name is a ``ValueError`` that lists the legal ones."""
        if name not in self.names:
            raise ValueError(unknown_name("task", name, self.names))
        return self.names.index(name)

    def visible_pixels(self, task_B):
        """Given pixels (B, T, H, W), bool."""
        return jnp.asarray(self.visible_nTHW)[task_B]

    def visible(self, task_B):
        """Conditioned tokens (B, t, h, w), bool."""
        return jnp.asarray(self.visible_nthw)[task_B]

    def condition_video(self, video_BTHWC, task_B):
        """The given pixels of each clip, padded to a whole clip; it does not depend on the other pixels."""

        def pad(video_THWC, task):
            look_up = lambda array: jnp.asarray(array)[task]  # noqa: E731
            given_THWC = video_THWC[:, look_up(self.row_nH)][:, :, look_up(self.column_nW)]
            before_THWC = given_THWC[look_up(self.before_nT)]
            fade_T111 = look_up(self.fade_nT)[:, None, None, None]
            faded_THWC = before_THWC + fade_T111 * (given_THWC[look_up(self.after_nT)] - before_THWC)
            shown_THW = look_up(self.visible_nTHW) | ~look_up(self.filled_n)
            return jnp.where(shown_THW[..., None], faded_THWC, self.fill).astype(faded_THWC.dtype)

        return jax.vmap(pad)(video_BTHWC, task_B)

    def prefix(self, task_B, label_B):
        """Prefix tokens (B, P), int32: the task's (in a multi-task vocabulary), then the label or "unconditional".

        The label counts for class-conditional tasks alone, and only if the vocabulary has classes; see
        ``Vocabulary.label`` for negative and too large ones.
        """
        shown_B = jnp.asarray(self.class_conditional_n)[task_B] & (self.vocabulary.num_classes > 0)
        class_B = self.vocabulary.label(jnp.where(shown_B, label_B, -1))
        columns = [jnp.asarray(self.family_n)[task_B]] * self.vocabulary.multitask + [class_B]
        return jnp.stack(columns, -1).astype(jnp.int32)

    def draw(self, step, key, batch: int):
        """Tasks (B,) of a training step: by ``step`` alone, or by ``key`` alone if ``mixing`` is "sample"."""
        if self.mixing == "step":
            return jnp.full((batch,), jnp.asarray(self.cycle)[step % len(self.cycle)])
        return jax.random.choice(key, len(self.names), (batch,), p=jnp.asarray(self.shares_n)).astype(jnp.int32)


def _after(lead: int, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The sides without the lead, of which at least one frame is left to divide by."""
    return (max(shape[0] - lead, 1), *shape[1:])


def _check(names, video_shape, latent_shape, rule, mixing, background, lead) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"tasks.names={list(names)} must name at least one task, and none twice.")
    if any(n % m for n, m in zip(_after(lead, video_shape), _after(lead, latent_shape), strict=True)):
        raise ValueError(f"Clips of (T, H, W) = {tuple(video_shape)} do not divide into a latent grid of "
                         f"{tuple(latent_shape)}; use clips whose sides are multiples of the grid's.")
    for key, value, legal in (("rule", rule, Rule.__args__), ("mixing", mixing, Mixing.__args__)):
        if value not in legal:
            raise ValueError(unknown_name(f"tasks.{key}", value, legal))
    if background is not None and not 0 <= background <= 1:
        raise ValueError(f"tasks.background is {background}; expected a value of pixels in [0, 1], or nothing.")


def _shares(names, weights) -> np.ndarray:
    weights_n = np.ones(len(names)) if weights is None else np.asarray(weights, float)
    if weights_n.shape != (len(names),) or not (np.isfinite(weights_n).all() and (weights_n > 0).all()):
        raise ValueError(f"tasks.weights={weights} must hold one positive number for each of {list(names)}.")
    return weights_n / weights_n.sum()


def _on_latents(task: Task, stride: int, before: int) -> Task:
    """The task with numbers of latent frames that hold the given frames, which start and end with the clip.

    Args:
      before: frames that the first latent frame has fewer than others.
    """
    frames = (given + before * (place == 0) for place, given in enumerate(task.given))
    return dataclasses.replace(task, given=tuple(-(-number // stride) for number in frames))


def _family(task: Task, vocabulary: Vocabulary, released_prefix: bool) -> int:
    if not vocabulary.multitask:
        return 0
    released = released_prefix and task.family == "inpainting"
    return vocabulary.task("outpainting" if released else task.family)


def _sources(tasks: Sequence[Task], visible_nTHW: np.ndarray) -> Mapping[str, np.ndarray]:
    """Where each pixel of a condition video comes from, by task; with black padding, from its own place."""
    sources = {"before_nT": [], "after_nT": [], "row_nH": [], "column_nW": []}
    for task, visible_THW in zip(tasks, visible_nTHW):
        extended = visible_THW if task.padding == "extend" else np.ones_like(visible_THW)
        for name, axes, side in (("before_nT", (1, 2), "right"), ("after_nT", (1, 2), "left"),
                                 ("row_nH", (0, 2), "right"), ("column_nW", (0, 1), "right")):
            sources[name].append(regions.nearest(extended.any(axes), side))
    stacked = {name: np.stack(rows).astype(np.int32) for name, rows in sources.items()}
    before_nT, after_nT = stacked["before_nT"], stacked["after_nT"]
    steps_nT = np.arange(visible_nTHW.shape[1]) - before_nT
    fade_nT = np.where(after_nT > before_nT, steps_nT / np.maximum(after_nT - before_nT, 1), 0).astype(np.float32)
    return {**stacked, "fade_nT": fade_nT}
