"""Decoding one by one, with a cache, is asking for every code anew."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decode.toys import CODES, KEYS, MASK, TABLE, TOKENS
from videogvt.decode import AutoregressiveDecoding, extend
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


def ramp(given_BTHWC, number, frames=8, offset=0.0):
    """Counts on from the first given frame."""
    return given_BTHWC[:, :1] + jnp.arange(frames).reshape(1, -1, 1, 1, 1) + offset


VIDEO = jnp.broadcast_to(jnp.arange(10.0) + jnp.array([[0], [100]]), (4, 4, 3, 2, 10)).transpose(3, 4, 0, 1, 2)


@pytest.mark.parametrize("num_frames", [10, 11, 13, 40])
@pytest.mark.parametrize("given, overlap", [(1, 0), (1, 1), (5, 0), (5, 3), (7, 7)])
def test_a_video_of_any_length_continues_itself(num_frames, given, overlap):
    video = extend(ramp, VIDEO, num_frames, given=given, overlap=overlap)
    expected = np.arange(num_frames)[None] + np.array([[0], [100]])
    expected = np.broadcast_to(expected[..., None, None, None], (2, num_frames, 4, 4, 3))
    np.testing.assert_allclose(video, expected, rtol=1e-6)


def test_given_frames_are_kept_and_overlaps_fade_linearly():
    kept = extend(partial(ramp, offset=0.5), VIDEO, 30, given=5)
    np.testing.assert_array_equal(kept[:, :10], VIDEO)
    faded = extend(partial(ramp, offset=1.0), VIDEO, 13, given=5, overlap=4)
    added = [0, 0, 0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    np.testing.assert_allclose(faded[0, :, 0, 0, 0] - np.arange(13), added)


def test_each_clip_has_a_number_and_the_last_frames():
    seen = []

    def predict(given_BTHWC, number):
        seen.append((number, given_BTHWC[0, :, 0, 0, 0].tolist()))
        return ramp(given_BTHWC, number, frames=5)

    assert extend(predict, VIDEO, 15, given=3).shape[1] == 15
    assert seen == [(0, [7, 8, 9]), (1, [9, 10, 11]), (2, [11, 12, 13])]


@pytest.mark.parametrize("arguments, message", [
    ({"num_frames": 9, "given": 1}, "num_frames=9"), ({"num_frames": 20, "given": 11}, "given=11"),
    ({"num_frames": 20, "given": 2, "overlap": 3}, "overlap=3"),
    ({"num_frames": 20, "given": 8}, "expected more frames")])
def test_numbers_of_frames_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        extend(ramp, VIDEO, **arguments)
    with pytest.raises(ValueError, match="expected floats"):
        extend(ramp, VIDEO.astype(jnp.uint8), 20, given=2)
