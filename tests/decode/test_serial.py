"""Decoding one by one, with a cache, is asking for every code anew."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decode.toys import CODES, KEYS, MASK, TABLE, TOKENS
from videogvt.decode import AutoregressiveDecoding
from videogvt.nn.lm import CausalTransformer
from videogvt.ops import sampling

PREFIX = jnp.stack([jnp.full(8, MASK), jnp.arange(8) % 2 + CODES], axis=1)
LENGTH = 2 + TOKENS


class Toy:
    """A causal model whose cache is what it has read."""

    mix = jax.random.normal(jax.random.key(6), (LENGTH, LENGTH))

    def whole(self, tokens_BL):
        seen = jnp.tril(self.mix[:tokens_BL.shape[1], :tokens_BL.shape[1]])
        return jnp.einsum("ij,bjv->biv", seen, TABLE[tokens_BL]).at[..., CODES:].set(99.0)

    def init_cache(self, batch):
        return jnp.zeros((batch, LENGTH), jnp.int32)

    def step(self, tokens_B, position, cache):
        cache = cache.at[:, position].set(tokens_B)
        return self.whole(cache)[:, position], cache


class Transformer:
    """The project's own, with weights large enough to care about what it reads."""

    def __init__(self):
        self.net = CausalTransformer(MASK + 1, LENGTH, layers=2, hidden=16, heads=2, mlp=32, dropout=0.0)
        weights = self.net.init(jax.random.key(0), jnp.zeros((1, 3), jnp.int32))
        self.apply = partial(self.net.apply, jax.tree.map(lambda x: 4 * x, weights))
        self.whole, self.init_cache, self.step = self.apply, self.net.init_cache, partial(self.apply, method="step")


def one_by_one(model, settings, rows=slice(None), prefix=PREFIX, tokens=TOKENS):
    def decode(prefix_BP, keys_B):
        return AutoregressiveDecoding(**settings)(
            model.step, model.init_cache(len(prefix_BP)), prefix_BP, num_tokens=tokens, num_codes=CODES, keys_B=keys_B)

    return jax.jit(decode)(prefix[rows], KEYS[rows])


@pytest.mark.parametrize("model, settings", [
    (Toy, {}), (Toy, {"top_k": 2, "temperature": 3.0}), (Toy, {"nucleus": 0.5}), (Toy, {"temperature": 0.0}),
    (Transformer, {"temperature": 1.5})])
def test_decoding_with_a_cache_is_asking_for_every_code_anew(model, settings):
    model = model()
    codes, whole = one_by_one(model, settings), jax.jit(model.whole)
    tokens_BL = jnp.zeros((8, LENGTH), jnp.int32).at[:, :2].set(PREFIX)
    for position in range(1, LENGTH - 1):
        logits = whole(tokens_BL)[:, position, :CODES]
        drawn = sampling.draw(sampling.fold_in(KEYS, position), logits, **settings)
        tokens_BL = tokens_BL.at[:, position + 1].set(drawn)
    np.testing.assert_array_equal(codes, tokens_BL[:, 2:])
    assert codes.shape == (8, TOKENS) and codes.dtype == jnp.int32 and codes.max() < CODES


def test_a_sample_drawn_one_by_one_does_not_depend_on_its_batch():
    codes = one_by_one(Toy(), {})
    np.testing.assert_array_equal(one_by_one(Toy(), {}, slice(2, 3))[0], codes[2])
    assert len(np.unique(codes, axis=0)) == 8


def test_a_longer_prefix_is_forced():
    whole = one_by_one(Toy(), {"temperature": 0.0})
    prefix = jnp.concatenate([PREFIX, whole[:, :5]], axis=1)
    rest = one_by_one(Toy(), {"temperature": 0.0}, prefix=prefix, tokens=TOKENS - 5)
    np.testing.assert_array_equal(rest, whole[:, 5:])
    with pytest.raises(ValueError, match="prefix is empty"):
        one_by_one(Toy(), {}, prefix=PREFIX[:, :0])
