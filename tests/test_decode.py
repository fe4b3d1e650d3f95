"""Parallel decoding is its written algorithm and keeps its laws; so do decoding one by one, and clips in a row."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.decode import AutoregressiveDecoding, ParallelDecoding, extend, paste
from videogvt.nn.lm import CausalTransformer
from videogvt.ops import sampling
from videogvt.ops.masking import schedule

CODES, TOKENS, MASK = 7, 12, 9
KEYS = jax.random.split(jax.random.key(5), 8)
TABLE = jax.random.normal(jax.random.key(1), (MASK + 1, CODES + 2))
MIX = jax.random.normal(jax.random.key(2), (TOKENS, TOKENS))
CONDITION = jax.random.randint(jax.random.key(3), (8, TOKENS), 0, CODES)
VISIBLE = jax.random.bernoulli(jax.random.key(4), 0.4, (8, TOKENS))


def toy(tokens_BN):
    """Logits that depend on all tokens of a row and on no other; two columns are of no code, and high."""
    own = TABLE[tokens_BN]
    context = (own[:, :, None, :] * MIX[None, :, :, None]).sum(1)
    return (own + context).at[..., CODES:].set(99.0)


def run(decoding, rows=slice(None), logits_fn=toy, **options):
    call = partial(decoding, logits_fn, mask_id=MASK, num_codes=CODES, **options)
    return jax.jit(lambda c, v, k: call(c, v, keys_B=k))(CONDITION[rows], VISIBLE[rows], KEYS[rows])


def flat(tokens_BN, codes=4):
    return jnp.zeros((*tokens_BN.shape, codes))


@pytest.mark.parametrize("name, counts", [
    ("cosine", [1015, 989, 946, 886, 812, 724, 623, 512, 391, 265, 133, 0]),
    ("uniform", [938, 853, 768, 682, 597, 512, 426, 341, 256, 170, 85, 0]),
    ("exp", [1022, 1020, 1018, 1013, 1006, 992, 966, 922, 842, 701, 449, 0])])
def test_counts_of_twelve_steps_are_those_of_the_released_code(name, counts):
    nothing = jnp.zeros((1, 1024), jnp.int32)
    decoding = ParallelDecoding(schedule=name, choice_temperature=400.0 if name == "exp" else 4.5)
    decoded = decoding(flat, nothing, nothing > 0, mask_id=4, num_codes=4, keys_B=KEYS[:1], keep_steps=True)
    assert decoded.steps.masked[0].sum(-1).tolist() == counts
    assert decoded.codes_BN.min() >= 0 and decoded.codes_BN.max() < 4


def naive(decoding, row):
    """The algorithm, position by position, for one sample."""
    key, visible = KEYS[row], np.asarray(VISIBLE[row])
    shown = np.where(visible, CONDITION[row], MASK)
    tokens, unknown, proposals, maps = shown.copy(), list(range(TOKENS)), [], []
    for step in range(decoding.steps):
        keys = [jax.random.fold_in(key, 2 * step + part) for part in (0, 1)]
        logits = np.asarray(toy(jnp.asarray(tokens)[None])[0, :, :CODES])
        drawn = np.asarray(sampling.draw(
            keys[0][None], logits[None], temperature=decoding.temperature, top_k=decoding.top_k,
            nucleus=decoding.nucleus)[0])
        noise = np.asarray(jax.random.gumbel(keys[1], (TOKENS,)))
        progress, scores = (step + 1) / decoding.steps, {}
        for position in unknown:
            tokens[position] = drawn[position]
            odds = np.exp(logits[position].astype(np.float64))
            probability = odds[drawn[position]] / odds.sum()
            start = np.log(probability) if decoding.confidence == "log" else probability
            scores[position] = start + decoding.choice_temperature * (1 - progress) * noise[position]
        proposals.append(tokens.copy())
        exact = float(schedule(decoding.schedule)(progress, TOKENS)) * TOKENS
        hidden = int(np.floor(exact + 1e-5) if decoding.rounding == "floor" else np.ceil(exact - 1e-5))
        hidden = 0 if step + 1 == decoding.steps else min(max(hidden, 1), len(unknown) - 1)
        unknown = sorted(sorted(unknown, key=scores.get)[:max(hidden, 0)])
        tokens[unknown] = shown[unknown]
        maps.append([position in unknown for position in range(TOKENS)])
    return tokens, proposals, maps


@pytest.mark.parametrize("settings", [
    {"steps": 5},
    {"steps": 5, "confidence": "prob", "rounding": "ceil", "choice_temperature": 1.0},
    {"steps": 6, "schedule": "uniform", "top_k": 3, "temperature": 2.0},
    {"steps": 4, "schedule": "exp", "nucleus": 0.6, "choice_temperature": 400.0}])
def test_decoding_is_the_algorithm_written_out(settings):
    decoding = ParallelDecoding(**settings)
    decoded = run(decoding, keep_steps=True)
    for row in range(3):
        tokens, proposals, maps = naive(decoding, row)
        np.testing.assert_array_equal(decoded.steps.tokens[row], proposals)
        np.testing.assert_array_equal(decoded.steps.masked[row], maps)
        np.testing.assert_array_equal(decoded.codes_BN[row], tokens)
    np.testing.assert_array_equal(decoded.steps.tokens[:, -1], decoded.codes_BN)


@pytest.mark.parametrize("steps, name, rounding", [
    (1, "cosine", "floor"), (2, "exp", "ceil"), (7, "cosine", "floor"), (15, "exp", "ceil"), (16, "pow0.1", "floor"),
    (40, "cosine", "ceil")])
def test_every_position_becomes_known_once_whatever_the_numbers(steps, name, rounding):
    """Rows with 0 to 16 unknown positions, thanks to kept condition tokens."""
    kept = jnp.arange(16)[None] >= jnp.arange(17)[:, None]
    decoding = ParallelDecoding(steps=steps, schedule=name, rounding=rounding, keep_condition=True)
    tokens, masked = decoding(
        flat, jnp.full(kept.shape, 3), kept, mask_id=4, num_codes=4, keys_B=jax.random.split(KEYS[0], 17),
        keep_steps=True).steps
    unknown = np.concatenate([~kept[:, None], masked], axis=1)
    assert (unknown[:, 1:] <= unknown[:, :-1]).all() and not unknown[:, -1].any()
    before, after = unknown[:, :-1].sum(-1), unknown[:, 1:].sum(-1)
    assert (after[before > 0] < before[before > 0]).all()
    known = ~unknown[:, 1:-1]
    np.testing.assert_array_equal(np.where(known, tokens[:, :-1], 0), np.where(known, tokens[:, 1:], 0))
    assert (np.asarray(tokens)[np.repeat(kept[:, None], steps, 1)] == 3).all()


def test_ties_hide_exactly_as_many_as_asked_the_earlier_ones():
    nothing = jnp.zeros((1, 16), jnp.int32)
    for logits in (flat, lambda tokens: flat(tokens).at[..., 1:].set(-jnp.inf)):
        decoding = ParallelDecoding(steps=4, schedule="uniform", choice_temperature=0.0)
        masked = decoding(
            logits, nothing, nothing > 0, mask_id=4, num_codes=4, keys_B=KEYS[:1], keep_steps=True).steps.masked
        np.testing.assert_array_equal(masked[0], np.arange(16)[None] < np.array([12, 8, 4, 0])[:, None])


def test_a_greedy_oracle_that_reads_from_left_to_right_finds_its_target_in_as_many_steps_as_tokens():
    target = CONDITION[:1]

    def oracle(tokens_BN):
        right = jnp.cumprod(tokens_BN == target, axis=1)
        ready = jnp.pad(right, ((0, 0), (1, 0)), constant_values=1)[:, :-1, None] > 0
        wrong = jax.nn.one_hot((target + 1) % CODES, CODES)
        return jnp.where(ready, 50 * jax.nn.one_hot(target, CODES), wrong)

    def error(steps):
        decoding = ParallelDecoding(steps=steps, schedule="uniform", choice_temperature=0.0, temperature=0.0)
        nothing = jnp.zeros_like(target, bool)
        codes = decoding(oracle, target, nothing, mask_id=MASK, num_codes=CODES, keys_B=KEYS[:1]).codes_BN
        return int((codes != target).sum())

    assert error(TOKENS) == 0 and error(TOKENS + 5) == 0
    assert error(3) > 0


def after(tokens_BN):
    """The code after the one shown; code 0 where MASK is shown. All are equally sure."""
    return 50 * jax.nn.one_hot(jnp.where(tokens_BN == MASK, 0, tokens_BN + 1) % CODES, CODES)


def test_condition_tokens_are_shown_predicted_anew_and_shown_again():
    decoded = run(ParallelDecoding(steps=6, temperature=0.0), logits_fn=after, keep_steps=True)
    expected = np.where(VISIBLE, (CONDITION + 1) % CODES, 0)
    np.testing.assert_array_equal(decoded.steps.tokens, np.repeat(expected[:, None], 6, axis=1))
    assert (decoded.steps.masked & VISIBLE[:, None])[:, 1].any()
    kept = run(ParallelDecoding(steps=6, temperature=0.0, keep_condition=True), logits_fn=after)
    np.testing.assert_array_equal(kept.codes_BN, np.where(VISIBLE, CONDITION, 0))
    assert kept.steps is None


def test_guidance_leads_away_from_a_model_that_sees_neither_class_nor_condition():
    likes, dislikes = jax.nn.one_hot(2, CODES), jax.nn.one_hot(5, CODES)
    seen = []

    def unconditional(tokens_BN):
        seen.append(tokens_BN)
        return jnp.broadcast_to(2 * likes - dislikes, (*tokens_BN.shape, CODES))

    def conditional(tokens_BN):
        return jnp.broadcast_to(3 * likes + dislikes, (*tokens_BN.shape, CODES))

    def guided(guidance, **options):
        return run(ParallelDecoding(steps=2, temperature=0.0, guidance=guidance), slice(0, 2), conditional, **options)

    assert (guided(0.0).codes_BN == 2).all()  # 3 : 1
    assert (guided(1.0, unconditional_fn=unconditional).codes_BN == 2).all()  # 4 : 3
    seen.clear()
    with jax.disable_jit():
        decoded = guided(3.0, unconditional_fn=unconditional, keep_steps=True)
    assert (decoded.codes_BN == 5).all()  # 6 : 7
    assert (seen[0] == MASK).all()
    for tokens, masked, shown in zip(decoded.steps.tokens[:, 0], decoded.steps.masked[:, 0], seen[1]):
        np.testing.assert_array_equal(shown, np.where(masked, MASK, tokens))
    with pytest.raises(ValueError, match="guidance=2.0 needs an unconditional_fn"):
        run(ParallelDecoding(guidance=2.0))


def test_a_sample_does_not_depend_on_its_batch():
    decoding = ParallelDecoding(steps=4)
    codes = run(decoding).codes_BN
    np.testing.assert_array_equal(run(decoding, slice(2, 3)).codes_BN[0], codes[2])
    np.testing.assert_array_equal(run(decoding, slice(0, 5)).codes_BN, codes[:5])
    assert len(np.unique(codes, axis=0)) == 8


ON_EIGHT = """
import json
import jax
from tests.test_decode import CODES, CONDITION, KEYS, MASK, VISIBLE, ParallelDecoding, toy
assert jax.device_count() == 8
rows = jax.sharding.NamedSharding(jax.sharding.Mesh(jax.devices(), ("data",)), jax.sharding.PartitionSpec("data"))
arguments = jax.device_put((CONDITION, VISIBLE, KEYS), rows)
decode = jax.jit(lambda c, v, k: ParallelDecoding(steps=4)(toy, c, v, mask_id=MASK, num_codes=CODES, keys_B=k).codes_BN)
codes = decode(*arguments)
print(json.dumps([len(codes.sharding.device_set), codes.tolist()]))
"""


def test_eight_devices_decode_what_one_decodes():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", ON_EIGHT], env=environment, cwd=Path(__file__).parents[1],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    devices, codes = json.loads(done.stdout)
    assert devices == 8
    np.testing.assert_array_equal(run(ParallelDecoding(steps=4)).codes_BN, codes)


@pytest.mark.parametrize("settings, message", [
    ({"steps": 0}, "steps=0"), ({"choice_temperature": -1.0}, "choice_temperature=-1.0"),
    ({"schedule": "cosin"}, "Did you mean 'cosine'"), ({"confidence": "logs"}, "decoding.confidence"),
    ({"rounding": "round"}, "decoding.rounding"), ({"top_k": 5, "nucleus": 0.9}, "exclude each other")])
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ParallelDecoding(**settings)


def test_logits_and_keys_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="fewer than 7 codes"):
        run(ParallelDecoding(), logits_fn=flat)
    with pytest.raises(ValueError, match="expected 8 typed keys"):
        ParallelDecoding()(toy, CONDITION, VISIBLE, mask_id=MASK, num_codes=CODES, keys_B=KEYS[:3])


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


def test_pasting_shows_the_given_pixels():
    visible = jnp.zeros((2, 10, 4, 4), bool).at[:, :2].set(True)
    pasted = paste(VIDEO + 1, VIDEO, visible)
    np.testing.assert_array_equal(pasted[:, :2], VIDEO[:, :2])
    np.testing.assert_array_equal(pasted[:, 2:], VIDEO[:, 2:] + 1)
