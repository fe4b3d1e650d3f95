"""Part "decoding": all codes of a clip in 12 steps beside one after another, of untrained networks of one size."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from on_device import sizes
from on_device.job import Bench, Job
from on_device.transformers import check_cudnn
from videogvt.bench.parts import Part
from videogvt.decode import AutoregressiveDecoding, ParallelDecoding
from videogvt.models.vocabulary import Vocabulary
from videogvt.nn.lm import CausalTransformer
from videogvt.nn.transformer import MaskedTransformer
from videogvt.train.timing import count_flops

CODES, CLASSES = 1024, 5
BATCHES = (1, 8)
PASS_S = 2e-3  # that one pass through B is taken to last at least
STEPS, ONE_BY_ONE = "12 steps", "one after another"


class Untrained(NamedTuple):
    """A network and how it makes codes.

    Attributes:
      network: the module.
      passes: through it, one after the other.
      decode: function of its parameters and a key for each clip.
    """

    network: MaskedTransformer | CausalTransformer
    passes: int
    decode: Callable[[Any, jax.Array], jax.Array]

    def params(self) -> Any:
        """Random parameters."""
        tokens_1L = jnp.zeros((1, self.network.sequence_length), jnp.int32)
        return jax.jit(self.network.init)(jax.random.key(0), tokens_1L)["params"]


def parallel(tokens: int, codes: int = CODES, **fields: Any) -> Untrained:
    """The masked transformer, 12 steps, without a class; ``fields`` are the network's."""
    vocabulary = Vocabulary(codes, CLASSES)
    network = MaskedTransformer(vocab_size=vocabulary.size, sequence_length=1 + tokens, **fields)

    def decode(params, keys_B):
        prefix_B1 = jnp.full((len(keys_B), 1), vocabulary.unconditional)
        nothing_BN = jnp.zeros((len(keys_B), tokens), jnp.int32)

        def logits(tokens_BN):
            return network.apply({"params": params}, jnp.concatenate([prefix_B1, tokens_BN], axis=1))[:, 1:, :codes]

        return ParallelDecoding()(logits, nothing_BN, nothing_BN > 0, mask_id=vocabulary.mask, num_codes=codes,
                                  keys_B=keys_B).codes_BN

    return Untrained(network, ParallelDecoding().steps, decode)


def serial(tokens: int, codes: int = CODES, **fields: Any) -> Untrained:
    """The causal transformer with its cache, without a class; ``fields`` are the network's."""
    vocabulary = Vocabulary(codes, CLASSES)
    network = CausalTransformer(vocab_size=vocabulary.size, sequence_length=1 + tokens, **fields)

    def decode(params, keys_B):
        prefix_B2 = jnp.tile(jnp.array([vocabulary.mask, vocabulary.unconditional]), (len(keys_B), 1))

        def step(tokens_B, position, cache):
            return network.apply({"params": params}, tokens_B, position, cache, method="step")

        return AutoregressiveDecoding()(step, network.init_cache(len(keys_B)), prefix_B2, num_tokens=tokens,
                                        num_codes=codes, keys_B=keys_B)

    return Untrained(network, tokens + 1, decode)


def part(name: str, made: Untrained, batch: int, counted: Untrained | None = None) -> Part:
    """One call, from noise to the codes of ``batch`` clips.

    Args:
      counted: the same network as XLA computes it, whose products are counted; None for ``made`` itself.
    """
    params, keys_B = made.params(), jax.random.split(jax.random.key(1), batch)
    flops = count_flops((counted or made).decode, params, keys_B)
    return Part(name, batch, lambda: jax.jit(made.decode).lower(params, keys_B),
                lambda compiled: compiled(params, keys_B), flops, jnp.dtype(made.network.dtype), looped=True)


def jobs(bench: Bench) -> Iterator[Job]:
    """Every way at every batch size; the masked transformer with each attention."""
    tokens = 16 if bench.dry_run else 1024
    fields = sizes.load("transformer B", bench.dry_run)["transformer"]
    causal = {name: fields[name] for name in ("layers", "hidden", "heads", "mlp", "dtype")}

    def steps(name: str, batch: int, attention: str) -> Part:
        by_xla = parallel(tokens, **fields, attention="xla")
        if attention == "cudnn":
            check_cudnn()
            return part(name, parallel(tokens, **fields, attention=attention), batch, counted=by_xla)
        return part(name, by_xla, batch)

    def one_by_one(name: str, batch: int) -> Part:
        return part(name, serial(tokens, **causal), batch)

    for batch in BATCHES:
        ways = {f"{STEPS}, batch {batch}": functools.partial(steps, attention="xla"),
                f"{STEPS} by cuDNN, batch {batch}": functools.partial(steps, attention="cudnn"),
                f"{ONE_BY_ONE}, batch {batch}": one_by_one}
        for name, way in ways.items():
            seconds = PASS_S * (tokens if way is one_by_one else ParallelDecoding().steps)
            yield Job(name, functools.partial(way, name, batch), share=0.2, seconds=seconds)
