"""What a caller asks of a generator, checked: tasks, decoding, classes and given videos."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from videogvt.core.registry import unknown_name
from videogvt.decode import changed
from videogvt.models.generation import CausalGeneration, MaskedGeneration
from videogvt.models.tasks import TASKS, TaskTable
from videogvt.ops.layout import fitted_expression, layout_of
from videogvt.ops.video import as_pixels

Generation = MaskedGeneration | CausalGeneration


LISTED = 20
"""Classes that a message lists where they have no names but numbers."""


def base_name(task: str) -> str:
    """A task's name without numbers of given frames: "FP" of "FP:8"."""
    return task.partition(":")[0]


def with_task(generation: Generation, task: str, section: Mapping[str, Any]) -> Generation:
    """The generation with a task in its table.

    Args:
      generation: what was trained.
      task: one of its tasks, maybe with another number of given frames.
      section: ``tasks`` of its config.

    Raises:
      ValueError: it was not trained on such a task; the message lists those it was.
    """
    names = generation.tasks.names
    if task in names:
        return generation
    if base_name(task) not in map(base_name, names):
        raise ValueError(unknown_name("task of this generator", task, names))
    tasks = TaskTable.build(
        (*names, task), video_shape=generation.video_shape, latent_shape=generation.latent_shape,
        vocabulary=generation.vocabulary, rule=generation.tasks.rule,
        released_prefix=section.get("released_prefix", False), background=section.get("background"),
        lead=generation.tokenizer.lead,
    )
    return dataclasses.replace(generation, tasks=tasks)


def with_decoding(generation: Generation, changes: Mapping[str, Any]) -> Generation:
    """The generation with other fields in its decoding, or another sampler; see ``decode.changed``.

    Raises:
      ValueError: there is no such field, or its value is not usable.
    """
    decoding = changed(generation.decoding, changes, fixed=("grid", "keep_condition"))
    return dataclasses.replace(generation, decoding=decoding)


def labels_of(task: str, label: Any, number: int, class_names: Sequence[str]) -> np.ndarray:
    """The class of each clip, (number,) int32; -1 where a task has none.

    Args:
      task: with a class or without.
      label: a class by name or number, or one for every clip; None for all classes in turn.
      number: of clips.
      class_names: by label.

    Raises:
      ValueError: an unknown class, with the legal ones; labels that nobody can use.
    """
    if number < 1:
        raise ValueError(f"number is {number}; expected at least 1.")
    if not TASKS[base_name(task)].class_conditional or not class_names:
        if label is not None:
            raise ValueError(f"label is {label!r}; the task {task!r} has no class here. Leave it out.")
        return np.full(number, -1, np.int32)
    if label is None:
        return np.arange(number, dtype=np.int32) % len(class_names)
    alone = isinstance(label, str | int | np.integer)
    asked = [label] * number if alone else list(label)
    if len(asked) != number:
        raise ValueError(f"Found {len(asked)} labels for {number} clips; give one, or one for every clip.")
    return np.array([_label(one, class_names) for one in asked], np.int32)


def _label(label: str | int, class_names: Sequence[str]) -> int:
    numbers_alone = len(class_names) > LISTED and class_names[-1] == str(len(class_names) - 1)
    if numbers_alone and not (str(label).isdecimal() and int(label) < len(class_names)):
        raise ValueError(f"There is no class {label!r}; classes are numbers from 0 to {len(class_names) - 1} here.")
    if isinstance(label, str) and not label.isdecimal():
        if label not in class_names:
            raise ValueError(unknown_name("class", label, class_names))
        return class_names.index(label)
    if not 0 <= int(label) < len(class_names):
        listing = ", ".join(f"{index} {name}" for index, name in enumerate(class_names))
        raise ValueError(f"There is no class {label}; there are {listing}.")
    return int(label)


def frames_needed(generation: Generation, task: str) -> int:
    """How many frames of a video a task of the table looks at, counted from the first; 0 where it sees no pixels."""
    visible_T = generation.tasks.visible_nTHW[generation.tasks.index(task)].any((1, 2))
    return int(visible_T.nonzero()[0].max(initial=-1)) + 1


def given_clips(generation: Generation, task: str, video: Any, number: int) -> np.ndarray:
    """The given clips, (number, T, H, W, 3), uint8 or float32; black ones for a task that sees no pixels.

    Args:
      generation: with the task in its table.
      task: whose given frames must be there; what follows the last of them may be missing and is never looked at.
      video: one clip for all, (T, H, W, 3) or (1, T, H, W, 3), or one for each, (number, T, H, W, 3).
      number: of clips.

    Raises:
      ValueError: the video is missing, not wanted, or does not fit.
    """
    visible_THW, needed = generation.tasks.visible_nTHW[generation.tasks.index(task)], frames_needed(generation, task)
    if not needed:
        if video is not None:
            raise ValueError(f"The task {task!r} is given no pixels; leave out the video.")
        return np.broadcast_to(np.uint8(0), (number, *visible_THW.shape, 3))
    if video is None:
        raise ValueError(f"The task {task!r} needs a video, of which it is given a part; pass one.")
    video, (frames, *size) = np.asarray(video), visible_THW.shape
    if problem := _unfit(video.shape, number, (needed, frames), size):
        raise ValueError(f"Found a video of shape {video.shape}; the task {task!r} expects {needed} to {frames} frames "
                         f"of {size[0]} x {size[1]} pixels: (T, H, W, 3), or one such clip for each of the {number}. "
                         f"{problem}")
    rows = as_pixels(video[None] if video.ndim == 4 else video)
    rows = np.broadcast_to(rows, (number, *rows.shape[1:]))
    return np.pad(rows, [(0, 0), (0, frames - rows.shape[1]), (0, 0), (0, 0), (0, 0)], mode="edge")


def _unfit(shape: Sequence[int], number: int, frames: tuple[int, int], size: Sequence[int]) -> str | None:
    """All that is wrong with the shape of a given video, and what mends it; None where nothing is."""
    layout = layout_of(shape)
    if layout is None:
        return "Videos are RGB clips, channels last."
    clips, *sides, _ = layout.shape
    fit = (min(max(sides[0], frames[0]), frames[1]), *size)
    wrong = [f"{axis} = {side}, not {new}" for axis, side, new in zip(("frames", "height", "width"), sides, fit)
             if side != new]
    if clips not in (1, number):
        wrong.append(f"clips = {clips}, not 1 or {number}")
    if not wrong and not layout.name:
        return None
    one = "[:1]" if clips not in (1, number) else ""
    remedy = f"use {fitted_expression(layout.expression + one, sides, fit)}"
    looks = f"It looks like {layout.name}" if layout.name else ""
    return (f"{'; '.join(filter(None, [looks, *wrong]))}: {remedy}, or videogvt.read_clip(path, generator), which "
            "makes a clip of a file that fits.")
