"""The paper's parallel decoding is its written algorithm, and keeps its laws."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decode.toys import CODES, CONDITION, KEYS, MASK, TOKENS, VISIBLE, flat, run, toy
from videogvt.decode import ParallelDecoding
from videogvt.ops import sampling
from videogvt.ops.masking import schedule


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
from tests.decode.toys import CODES, CONDITION, KEYS, MASK, VISIBLE, toy
from videogvt.decode import ParallelDecoding
assert jax.device_count() == 8
rows = jax.sharding.NamedSharding(jax.sharding.Mesh(jax.devices(), ("data",)), jax.sharding.PartitionSpec("data"))
arguments = jax.device_put((CONDITION, VISIBLE, KEYS), rows)
decode = jax.jit(lambda c, v, k: ParallelDecoding(steps=4)(toy, c, v, mask_id=MASK, num_codes=CODES, keys_B=k).codes_BN)
codes = decode(*arguments)
print(json.dumps([len(codes.sharding.device_set), codes.tolist()]))
"""


def test_eight_devices_decode_what_one_decodes():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", ON_EIGHT], env=environment, cwd=Path(__file__).parents[2],
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
