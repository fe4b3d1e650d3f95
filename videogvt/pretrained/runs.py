"""What is read of a run's directory: its checkpoints, and of a generator its tokenizer and the size of its clips."""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from videogvt.core.registry import refuse_dropped_config
from videogvt.inputs.clip_shape import class_names, clip_shape
from videogvt.inputs.sources import open_source, training_fields
from videogvt.pretrained.codec import OwnTokenizer, load_tokenizer, tokenizer_of
from videogvt.pretrained.compat import StoredTokenizer
from videogvt.pretrained.loading import check_tokenizer
from videogvt.pretrained.tokenizer import VideoTokenizer
from videogvt.train.checkpoint import choose_step, load_params, read_meta


class RunParts(NamedTuple):
    """What a ``VideoGenerator`` is made of besides its config; attributes are those of its constructor."""

    params: Mapping[str, Any]
    tokenizer: VideoTokenizer | OwnTokenizer
    video_shape: tuple[int, int, int]
    class_names: tuple[str, ...]


def tokenizer_of_run(
    folder: pathlib.Path, config: Mapping[str, Any], weights: str, step: int | str
) -> StoredTokenizer:
    """The tokenizer of a run; arguments and errors are those of ``VideoTokenizer.load``."""
    networks_by_name = load_params(folder, weights, step)
    if "tokenizer" not in config or "generator" not in networks_by_name:
        raise ValueError(f"{folder} holds a run of {sorted(networks_by_name)}, which is no tokenizer's.")
    return StoredTokenizer(config["tokenizer"], networks_by_name["generator"], data=config["data"])


def generator_of_run(
    folder: pathlib.Path, config: Mapping[str, Any], weights: str, step: int | str,
    tokenizer: str | os.PathLike | None, data_dir: os.PathLike | None,
) -> RunParts:
    """The parts of a run's generator; arguments and errors are those of ``VideoGenerator.load``."""
    params, data = load_params(folder, weights, step)[config["recipe"]], config["data"]
    section = {"run": tokenizer, "step": "best"} if tokenizer else config["tokenizer"]
    opened = functools.partial(open_source, data["source"], "train", data_dir=data_dir, **data["options"])
    if data["source"] == "codes":
        found = tokenizer_of(section, opened(fields=training_fields("codes")))
    else:
        found = load_tokenizer(section["run"], section["step"])
    refuse_dropped_config(config, folder)
    check_tokenizer(folder, read_meta(folder, choose_step(folder, step))["frozen"]["tokenizer"], found)
    return RunParts(params, found, *_clips(data, opened))


def _clips(data: Mapping[str, Any], opened: Callable) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """(T, H, W) and the classes of a run's training clips; ``opened(fields=...)`` opens them."""
    if data["source"] == "codes":
        source = opened(fields=training_fields("codes"))
        return tuple(source.metadata["video"]), source.class_names
    shape, names = clip_shape(data), class_names(data)
    if shape is None:
        raise ValueError(f"The size of the clips cannot be told from the config's data {dict(data)}; name num_frames, "
                         "height and width in its options.")
    if names is None:
        names = opened(fields=("video",)).class_names
    return shape, names
