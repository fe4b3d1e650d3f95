"""Generators that are known exactly: they take their clips out of a bank of real ones."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.evals.published import EvaluationClassifier
from videogvt.inputs.sources import ArraySource
from videogvt.train.parallel import MeshShape
from videogvt.train.state import TrainState
from videogvt.world.example import example
from videogvt.world.spec import SPECS

SPEC = dataclasses.replace(SPECS["tiny"], splits=(("train", 100), ("validation", 60), ("test", 100)))
FAMILIES = SPEC.families
K = len(FAMILIES)


@functools.cache
def clips(split: str, count: int) -> dict[str, np.ndarray]:
    items = [example(SPEC, split, index) for index in range(count)]
    names = ("video", "label", "id", "fps", "pixel_position", "radius_px")
    return {name: np.stack([item[name] for item in items]) for name in names}


def source(split: str, count: int, without: tuple[str, ...] = ()) -> ArraySource:
    fields = {name: column for name, column in clips(split, count).items() if name not in without}
    return ArraySource(fields, FAMILIES)


def bank_of(split: str, count: int) -> np.ndarray:
    """Clips (K, count / K, T, H, W, 3), uint8, by class."""
    video = clips(split, count)["video"]
    return video.reshape(count // K, K, *video.shape[1:]).swapaxes(0, 1)


def make_state(split: str = "validation", count: int = 60) -> TrainState:
    """A state whose parameters are a bank of clips."""
    mesh = MeshShape().build(jax.devices()[:1])
    state = TrainState.create(params={"bank": jnp.asarray(bank_of(split, count))}, opt={})
    return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))


def real(state, task_B, label_B, video_BTHWC, keys_B):
    """Clips of the class asked for, drawn by the key."""
    bank = state.params["bank"]
    row_B = jax.vmap(lambda key: jax.random.randint(key, (), 0, bank.shape[1]))(keys_B)
    return {"video": bank[label_B, row_B] / 255.0, "codes": jnp.zeros((len(label_B), 2, 4, 4), jnp.int32)}


def mislabelled(state, task_B, label_B, video_BTHWC, keys_B):
    return real(state, task_B, (label_B + 1) % K, video_BTHWC, keys_B)


def by_heart(state, task_B, label_B, video_BTHWC, keys_B):
    """The first clip of the bank, whatever is asked for."""
    first = state.params["bank"][0, 0] / 255.0
    return {"video": jnp.broadcast_to(first, (len(label_B), *first.shape))}


def white(state, task_B, label_B, video_BTHWC, keys_B):
    return {"video": jnp.ones_like(video_BTHWC)}


def doubled(state, task_B, label_B, video_BTHWC, keys_B):
    """Two objects instead of one."""
    video = real(state, task_B, label_B, video_BTHWC, keys_B)["video"]
    return {"video": jnp.minimum(video, jnp.roll(video, 16, axis=2))}


def trembling(state, task_B, label_B, video_BTHWC, keys_B):
    """Every other frame two pixels to the right."""
    video = real(state, task_B, label_B, video_BTHWC, keys_B)["video"]
    return {"video": video.at[:, ::2].set(jnp.roll(video[:, ::2], 2, axis=3))}


def judge() -> EvaluationClassifier:
    """Names the class of the clip of the bank that is nearest in its darkness by place; features are that darkness."""
    def places(video_BTHWC):
        dark = (1.0 - video_BTHWC.min(-1))
        return dark.reshape(len(dark), 4, 2, 4, 8, 4, 8).mean((2, 4, 6)).reshape(len(dark), -1)

    def forward(params, video_BTHWC):
        here_BD = places(video_BTHWC)
        apart_BKN = ((here_BD[:, None, None] - params) ** 2).sum(-1)
        return -apart_BKN.min(-1), here_BD

    bank_KND = np.stack([places(of_class / 255.0) for of_class in bank_of("validation", 60)])
    return EvaluationClassifier("nearest", forward, bank_KND)
