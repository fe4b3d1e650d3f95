"""Part "transformer": the paper's masked transformers on 1,024 codes and their class, with each way to attend.

With dropout on the attention's probabilities, as the paper's settings have it, these are computed in the open; without
it the attention is one call of jax, which XLA or cuDNN computes.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from on_device import sizes
from on_device.job import Bench, Job, Row, Skip
from on_device.memory import batch_sizes
from on_device.networks import random_codes, transformer_recipe
from on_device.tokenizers import step_needs
from videogvt.bench.parts import Part, Subject
from videogvt.nn.transformer import MaskedTransformer
from videogvt.recipes.transformer import TransformerRecipe
from videogvt.train.contracts import Plan

FUSED = {"attention_dropout": 0.0}


def check_cudnn() -> None:
    """Skips what asks for cuDNN on a machine without it."""
    if jax.default_backend() != "gpu":
        raise Skip(f"cuDNN's attention runs on NVIDIA GPUs; found {jax.devices()[0].device_kind}.")


def recipe_of(name: str, dry_run: bool, **changes: Any) -> TransformerRecipe:
    """The recipe of "transformer B" and the like, with changed fields of the network."""
    settings = sizes.load(name, dry_run)
    settings["transformer"] = settings["transformer"] | changes
    return transformer_recipe(settings, settings["network"], settings["clip"], settings["classes"])


def step(bench: Bench, size: str, quarter: bool = False, **changes: Any) -> Part:
    """The training step at the largest batch that its shapes let expect to fit, or at a quarter of it."""
    if changes.get("attention") == "cudnn":
        check_cudnn()
    recipe, most = recipe_of(size, bench.dry_run, **changes), sizes.load(size, bench.dry_run)["batch_size"]
    rows = batch_sizes(functools.partial(step_needs, recipe, functools.partial(random_codes, recipe)),
                       bench.budget, most)
    return Subject(recipe, random_codes(recipe, rows[quarter]), Plan(total_steps=1)).training()


def difference(bench: Bench) -> Row:
    """The largest difference of logits by cuDNN from those by XLA, relative to the largest of these."""
    check_cudnn()
    by_xla, by_cudnn = (_network(bench, attention) for attention in ("xla", "cudnn"))
    tokens_BL = jax.random.randint(jax.random.key(1), (2, by_xla.sequence_length), 0, by_xla.vocab_size)
    params = jax.jit(by_xla.init)(jax.random.key(0), tokens_BL)
    one, other = (jax.jit(network.apply)(params, tokens_BL) for network in (by_xla, by_cudnn))
    return {"difference": float(jnp.abs(one - other).max() / jnp.abs(one).max())}


def _network(bench: Bench, attention: str) -> MaskedTransformer:
    return recipe_of("transformer B", bench.dry_run, **FUSED, attention=attention).generation.transformer


def jobs(bench: Bench) -> Iterator[Job]:
    """Transformer B with each attention; with ``more`` rematerialisation, and L."""
    def job(name: str, size: str = "transformer B", **changes: Any) -> Job:
        return Job(name, functools.partial(step, bench, size, **changes), share=0.4)

    yield job("train step, attention in the open")
    yield job("train step, attention by XLA", **FUSED, attention="xla")
    yield job("train step, attention by cuDNN", **FUSED, attention="cudnn")
    yield Job("logits by cuDNN against XLA", row=functools.partial(difference, bench), seconds=20)
    yield job("train step, attention by XLA, quarter of the batch", quarter=True, **FUSED, attention="xla")
    yield job("train step, attention by cuDNN, quarter of the batch", quarter=True, **FUSED, attention="cudnn")
    if not bench.more:
        return
    yield job("train step, attention by cuDNN, rematerialised", **FUSED, attention="cudnn", remat=True)
    yield job("L: train step, attention by XLA", "transformer L", **FUSED, attention="xla")
    yield job("L: train step, attention by cuDNN", "transformer L", **FUSED, attention="cudnn")
