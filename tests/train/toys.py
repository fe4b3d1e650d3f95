"""A small training with two networks, for tests of the loop: a regression, and a second network that follows it."""

import dataclasses
import os
import signal
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

from videogvt.train.contracts import Mean, Plan, When
from videogvt.train.state import TrainState

TX = {"student": optax.adam(1e-2), "follower": optax.sgd(1e-2, momentum=0.9)}


def _mlp(params, x):
    return jnp.tanh(x @ params["dense"]["kernel"] + params["dense"]["bias"]) @ params["out"]["kernel"]


@dataclasses.dataclass
class ToyRecipe:
    """The student learns y from x with noise on x; the follower learns to predict the student."""

    frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sharding_rules: tuple = (("dense/kernel", PartitionSpec(None, "model")), (".*", PartitionSpec()))
    explode_at: int = -1
    poison_at: int = -1
    calls: list = dataclasses.field(default_factory=list)

    @property
    def predict_fns(self):
        return {"predict": lambda state, x: _mlp(state.ema["student"], x)}

    def init(self, key, example_batch):
        width = example_batch["x"].shape[-1]

        def network(key):
            first, second = jax.random.split(key)
            return {"dense": {"kernel": jax.random.normal(first, (width, 8)) / 2, "bias": jnp.zeros(8)},
                    "out": {"kernel": jax.random.normal(second, (8, 1)) / 2}}

        params = {name: network(key) for name, key in zip(TX, jax.random.split(key))}
        return TrainState.create(
            params=params, opt={name: tx.init(params[name]) for name, tx in TX.items()},
            ema={"student": params["student"]}, extra={"student": {"seen": jnp.zeros((), jnp.int32)}},
        )

    def warm_start(self, state):
        self.calls.append("warm_start")
        return state

    def step(self, state, batch, key):
        noise = 0.1 * jax.random.normal(key, batch["x"].shape)
        offset = state.frozen["offset"]["value"] if self.frozen else 0.0

        def losses(params):
            guess = _mlp(params["student"], batch["x"] + noise) + offset
            follow = _mlp(params["follower"], batch["x"]) - jax.lax.stop_gradient(guess)
            errors = jnp.square(guess[:, 0] - batch["y"])
            errors = jnp.where(state.step + 1 == self.explode_at, jnp.inf, errors)
            return errors.mean() + jnp.square(follow).mean(), errors

        (_, errors), grads = jax.value_and_grad(losses, has_aux=True)(state.params)
        params, opt = {}, {}
        for name, tx in TX.items():
            updates, opt[name] = tx.update(grads[name], state.opt[name], state.params[name])
            params[name] = optax.apply_updates(state.params[name], updates)
        ema = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, state.ema["student"], params["student"])
        params = jax.tree.map(lambda leaf: jnp.where(state.step + 1 == self.poison_at, jnp.nan, leaf), params)
        seen = state.extra["student"]["seen"] + len(batch["x"])
        state = state.replace(params=params, opt=opt, ema={"student": ema}, extra={"student": {"seen": seen}})
        return state, {"loss": Mean.of(errors)}


class ToyBatches:
    """Batch k is a function of (seed, k) alone. Sends itself signals in place of the user."""

    def __init__(self, data):
        self.position, self.batch_size, self.calls, self.data = 0, data.batch_size, data.calls, data

    def __iter__(self):
        return self

    def __next__(self):
        self.calls.append("fetch")
        if self.position == self.data.end_at:
            raise StopIteration
        generator = np.random.default_rng((7, self.position))
        x = generator.normal(size=(self.batch_size, 4)).astype(np.float32)
        ids = np.array([f"toy/{self.position}/{row}" for row in range(self.batch_size)], dtype=object)
        self.position += 1
        if self.position == self.data.stop_at:
            for name in self.data.signals:
                os.kill(os.getpid(), signal.Signals[name])
        return {"x": x, "y": np.sin(x.sum(-1)), "id": ids}

    def get_state(self):
        return {"position": self.position}

    def set_state(self, state):
        self.position = state["position"]


@dataclasses.dataclass
class ToyData:
    batch_size: int = 8
    num_examples: int = 64
    split_hash: str = "0123456789abcdef"
    calls: list = dataclasses.field(default_factory=list)
    stop_at: int = -1
    signals: tuple = ("SIGTERM",)
    end_at: int = -1

    def train(self):
        self.batches = ToyBatches(self)
        return self.batches


@dataclasses.dataclass
class ToyEvaluator:
    """The student's error on fixed inputs."""

    recipe: ToyRecipe
    when: When
    name: str = "toy"
    calls: list = dataclasses.field(default_factory=list)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"split": "validation", "weights": "ema"})

    def run(self, state):
        self.calls.append(f"{self.name}@{int(state.step)}")
        x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)
        error = np.asarray(self.recipe.predict_fns["predict"](state, x))[:, 0] - np.sin(x.sum(-1))
        yield "error", float(np.square(error).mean())
        yield "step", float(state.step)


def toy_plan(total=12, **changes):
    """A short plan; ``changes`` replace fields."""
    fields = {"total_steps": total, "log_every": 5, "save_every": 4, "config": {"model": {"width": 8}, "seed": 0}}
    return Plan(**{**fields, **changes})


def toy_run(total=12, *, evaluators=None, recipe=None, data=None, **changes):
    """The first four arguments of ``fit``."""
    return recipe or ToyRecipe(), data or ToyData(), evaluators or {}, toy_plan(total, **changes)


def leaves(tree):
    """All leaves as numpy arrays by path."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
