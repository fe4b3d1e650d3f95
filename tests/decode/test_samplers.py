"""Laws that every sampler of masked transformers keeps, and how samplers are named and changed."""

import ast
import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decode.toys import CODES, CONDITION, KEYS, MASK, SOME, TOKENS, VISIBLE, toy
from videogvt import decode
from videogvt.decode import (
    SAMPLERS,
    AutoregressiveDecoding,
    BisectionDecoding,
    DraftAndRevise,
    FrameDecoding,
    HaltonDecoding,
    MarginDecoding,
    ParallelDecoding,
    RandomDecoding,
    Remasking,
    SpeakingDecoding,
    changed,
    sampler_of,
)
from videogvt.ops.sampling import halton_order

GRID = (3, 2, 2)
EVERY = {
    "confidence": ParallelDecoding(steps=5), "margin": MarginDecoding(steps=5, choice_temperature=0.3),
    "speaking": SpeakingDecoding(steps=5, empty=2), "random": RandomDecoding(steps=5),
    "halton": HaltonDecoding(steps=5, grid=GRID), "halton, randomized": HaltonDecoding(randomize=True, grid=GRID),
    "frames": FrameDecoding(steps=3, grid=GRID), "frames, random": FrameDecoding(steps=7, cells="random", grid=GRID),
    "bisection": BisectionDecoding(steps=2, cells="speaking", empty=0, grid=GRID),
    "draft_and_revise": DraftAndRevise(steps=5), "remasking": Remasking(steps=5, eta=0.7),
}
PASSES = {"confidence": 5, "margin": 5, "speaking": 5, "random": 5, "halton": 5, "halton, randomized": 32, "frames": 9,
          "frames, random": 21, "bisection": 6, "draft_and_revise": 15, "remasking": 5}
ONCE = [name for name in EVERY if name not in ("draft_and_revise", "remasking")]
every, once = pytest.mark.parametrize("name", EVERY), pytest.mark.parametrize("name", ONCE)
FREE = ~np.asarray(SOME)


@functools.cache
def program(name):
    """A compiled sampler that keeps conditions, of clips' conditions, visible positions, keys, and a code for every
    position with how much likelier than by ``toy`` it is."""
    sampler = dataclasses.replace(EVERY[name], keep_condition=True)

    def decode(condition_BN, visible_BN, keys_B, likely_BN, by):
        def network(tokens_BN):
            return toy(tokens_BN) + by * jax.nn.one_hot(likely_BN, CODES + 2)

        return sampler(network, condition_BN, visible_BN, mask_id=MASK, num_codes=CODES, keys_B=keys_B, keep_steps=True)

    return jax.jit(decode)


@functools.cache
def decoded(name, by=0.0):
    return jax.tree.map(np.asarray, program(name)(CONDITION, SOME, KEYS, CONDITION, by))


def scans(jaxpr):
    return [equation.params["length"] for equation in jaxpr.eqns if equation.primitive.name == "scan"]


def test_samplers_see_probabilities_and_positions_alone():
    """Nothing of worlds, trackers, oracles, pixels or data; imports inside functions count too."""
    for path in sorted(pathlib.Path(decode.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                ours = name.startswith("videogvt.")
                assert not ours or name.split(".")[1] in ("core", "ops", "decode"), f"{path.name} imports {name}"


def test_every_sampler_is_here():
    assert {type(sampler) for sampler in EVERY.values()} == set(SAMPLERS.values())
    assert all(isinstance(hash(sampler), int) for sampler in EVERY.values())  # compiled programs are kept by it


@every
def test_there_are_as_many_passes_as_it_says_in_one_loop(name):
    asked = []

    def counted(tokens_BN):
        asked.append(tokens_BN)
        return toy(tokens_BN)

    def decode(c, v, k):
        return EVERY[name](counted, c, v, mask_id=MASK, num_codes=CODES, keys_B=k).codes_BN

    assert scans(jax.make_jaxpr(decode)(CONDITION, VISIBLE, KEYS).jaxpr) == [PASSES[name]] == [EVERY[name].passes]
    assert len(asked) == 1  # in the loop's body, which is traced once
    assert decoded(name).steps.tokens.shape == (8, PASSES[name], TOKENS)


@every
def test_all_ends_known_and_codes_are_codes(name):
    codes, (tokens, masked) = decoded(name)
    assert not masked[:, -1].any()
    np.testing.assert_array_equal(tokens[:, -1], codes)
    assert codes.dtype == np.int32 and codes.min() >= 0 and codes.max() < CODES


@every
def test_a_known_token_stays_until_it_is_hidden(name):
    _, (tokens, masked) = decoded(name)
    stays = ~masked[:, :-1]
    np.testing.assert_array_equal(np.where(stays, tokens[:, :-1], 0), np.where(stays, tokens[:, 1:], 0))


@once
def test_every_position_is_uncovered_once(name):
    _, (_, masked) = decoded(name)
    unknown = np.concatenate([FREE[:, None], masked], axis=1)
    np.testing.assert_array_equal((unknown[:, :-1] & ~unknown[:, 1:]).sum(1), FREE)
    assert not (~unknown[:, :-1] & unknown[:, 1:]).any()


@every
def test_kept_conditions_are_kept(name):
    codes, (tokens, masked) = decoded(name)
    kept = np.broadcast_to(~FREE[:, None], tokens.shape)
    np.testing.assert_array_equal(codes[~FREE], np.asarray(CONDITION)[~FREE])
    np.testing.assert_array_equal(tokens[kept], np.broadcast_to(np.asarray(CONDITION)[:, None], tokens.shape)[kept])
    assert not (masked & kept).any()


@every
def test_a_clip_depends_on_its_own_key_alone(name):
    whole, order = decoded(name), np.array([3, 3, 0, 7, 1, 3, 5, 2])
    mixed = program(name)(CONDITION[order], SOME[order], KEYS[order], CONDITION[order], 0.0)
    for found, expected in zip(jax.tree.leaves(mixed), jax.tree.leaves(whole)):
        np.testing.assert_array_equal(found, expected[order])
    other = program(name)(CONDITION, SOME, jax.random.split(jax.random.key(99), 8), CONDITION, 0.0)
    assert (np.asarray(other.codes_BN) != whole.codes_BN).any(1).sum() >= 6


@every
def test_a_network_that_knows_its_clip_makes_it(name):
    np.testing.assert_array_equal(decoded(name, 1e4).codes_BN, CONDITION)
    assert (decoded(name).codes_BN != CONDITION).any(1).all()


@pytest.mark.parametrize("name", ["margin", "speaking", "random", "remasking"])
def test_numbers_of_hidden_tokens_are_the_schedules(name):
    counts = decoded(name).steps.masked.sum(-1)
    assert counts[0].tolist() == [11, 9, 7, 3, 0]  # 12 cos(pi / 10), ...
    np.testing.assert_array_equal(counts, decoded("confidence").steps.masked.sum(-1))


def test_arccos_in_four_passes_of_sixteen_cells():
    nothing = jnp.zeros((2, 16), jnp.int32)
    masked = HaltonDecoding(steps=4, grid=(1, 4, 4))(
        toy_of_16, nothing, nothing > 0, mask_id=MASK, num_codes=CODES, keys_B=KEYS[:2], keep_steps=True).steps.masked
    assert masked.sum(-1).tolist() == 2 * [[14, 11, 8, 0]]
    first = [[9, 6], [12, 1, 11], [4, 14, 3], [8, 5, 0, 7, 13, 2, 15, 10]]  # by bases 2 and 3
    before = np.ones(16, bool)
    for step, cells in enumerate(first):
        assert set(np.flatnonzero(before & ~masked[0, step])) == set(cells)
        before = masked[0, step]


def toy_of_16(tokens_BN):
    return jnp.zeros((*tokens_BN.shape, CODES))


@pytest.mark.parametrize("name", ["random", "halton", "halton, randomized", "frames, random", "draft_and_revise"])
def test_fixed_orders_look_at_no_probability(name):
    np.testing.assert_array_equal(decoded(name).steps.masked, decoded(name, 1e4).steps.masked)


def test_clips_have_an_order_of_their_own_or_the_same():
    hidden = {name: decoded(name).steps.masked[:4].sum(1) for name in ("random", "halton", "halton, randomized")}
    assert len(np.unique(hidden["random"], axis=0)) == 4
    assert len(np.unique(hidden["halton"], axis=0)) == 1
    order = list(halton_order(GRID))
    for row in hidden["halton, randomized"]:  # in 32 passes for 12 tokens one becomes known in each
        np.testing.assert_array_equal(np.argsort(row), np.roll(order, -order.index(int(np.argmin(row)))))
    assert len(np.unique(hidden["halton, randomized"], axis=0)) > 1


def certain(values):
    """A network whose clips are alike: ``values`` (N, CODES) of probabilities."""
    return lambda tokens_BN: jnp.broadcast_to(jnp.log(jnp.asarray(values)), (*tokens_BN.shape, CODES))


def test_speaking_cells_come_first_however_small_their_probability():
    speaking = np.array([1e-12, 0.5, 1e-3, 1e-10, 0.9, 1e-11, 0.2, 1e-2, 1e-4, 1e-9, 1e-5, 1e-6])
    values = np.repeat(speaking[:, None] / (CODES - 1), CODES, axis=1)
    values[:, 3] = 1 - speaking
    sampler = SpeakingDecoding(steps=12, schedule="uniform", empty=3)
    masked = sampler(certain(values), CONDITION, VISIBLE, mask_id=MASK, num_codes=CODES, keys_B=KEYS,
                     keep_steps=True).steps.masked
    np.testing.assert_array_equal(np.argsort(masked.sum(1), axis=-1), np.tile(np.argsort(-speaking), (8, 1)))


def test_the_widest_margin_comes_first_and_not_the_surest_token():
    values = np.full((TOKENS, CODES), 1e-9)
    values[:, 0], values[:, 1], values[:, 2] = 0.4, 0.3, 0.3  # margin 0.1
    values[4] = [0.49, 0.48, 0.01, 0.005, 0.005, 0.005, 0.005]  # surer, margin 0.01
    values[7] = [0.35, 0.1, 0.11, 0.11, 0.11, 0.11, 0.11]  # less sure, margin 0.24
    given = (CONDITION, VISIBLE)
    options = {"mask_id": MASK, "num_codes": CODES, "keys_B": KEYS, "keep_steps": True}
    known = {kind: ~kind(steps=12, temperature=0.0, choice_temperature=0.0, schedule="uniform")(
        certain(values), *given, **options).steps.masked for kind in (MarginDecoding, ParallelDecoding)}
    margin, confidence = known[MarginDecoding], known[ParallelDecoding]
    assert (margin[:, 0] == (np.arange(TOKENS) == 7)).all() and not margin[:, -2, 4].any()
    assert (confidence[:, 0] == (np.arange(TOKENS) == 4)).all() and not confidence[:, -2, 7].any()


def test_a_config_names_a_sampler_and_its_fields():
    assert sampler_of({"steps": 7}, GRID) == ParallelDecoding(steps=7, grid=GRID)
    assert sampler_of({"sampler": "halton"}, GRID) == HaltonDecoding(grid=GRID)
    assert sampler_of({"sampler": "frames", "cells": "random"}, GRID) == FrameDecoding(cells="random", grid=GRID)
    with pytest.raises(ValueError, match="Did you mean 'halton'"):
        sampler_of({"sampler": "haltn"}, GRID)
    with pytest.raises(ValueError, match="sampler 'halton', 'choice_temperature'"):
        sampler_of({"sampler": "halton", "choice_temperature": 0.0}, GRID)
    with pytest.raises(ValueError, match="'grid'"):
        sampler_of({"grid": (1, 1, 1)}, GRID)


def test_another_sampler_begins_from_its_own_settings_and_what_the_model_is():
    run = FrameDecoding(steps=7, temperature=0.7, guidance=2.0, cells="speaking", empty=5, grid=GRID)
    assert changed(run, {"temperature": 0.5}) == dataclasses.replace(run, temperature=0.5)
    assert changed(run, {"sampler": "halton"}) == HaltonDecoding(guidance=2.0, grid=GRID)
    assert changed(run, {"sampler": "speaking", "steps": 3}) == SpeakingDecoding(
        steps=3, empty=5, guidance=2.0, grid=GRID)
    with pytest.raises(ValueError, match="decoding 'cells'"):
        changed(run, {"sampler": "halton", "cells": "random"})
    with pytest.raises(ValueError, match="decoding 'grid'"):
        changed(run, {"grid": (1, 3, 4)})
    with pytest.raises(ValueError, match="decoding 'sampler'"):
        changed(AutoregressiveDecoding(), {"sampler": "halton"})
    assert changed(AutoregressiveDecoding(), {"temperature": 0.5}) == AutoregressiveDecoding(temperature=0.5)


@pytest.mark.parametrize("kind, settings, message", [
    (HaltonDecoding, {}, "HaltonDecoding found grid=None"), (FrameDecoding, {"grid": (2, 0, 1)}, "three positive"),
    (SpeakingDecoding, {}, "empty=None"), (SpeakingDecoding, {"empty": "most_frequent"}, "number of the most frequent"),
    (FrameDecoding, {"grid": GRID, "cells": "speaking"}, "empty=None"),
    (FrameDecoding, {"grid": GRID, "cells": "surest"}, "decoding.cells"),
    (FrameDecoding, {"grid": GRID, "steps": 0}, "steps=0"), (RandomDecoding, {"rounding": "up"}, "decoding.rounding"),
    (RandomDecoding, {"schedule": "cosin"}, "Did you mean 'cosine'"),
    (DraftAndRevise, {"revisions": -1}, "revisions=-1"),
    (Remasking, {"eta": 1.5}, "eta=1.5"), (MarginDecoding, {"temperature": -1.0}, "temperature=-1.0")])
def test_senseless_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_a_grid_or_an_empty_code_that_does_not_fit_is_refused():
    call = {"mask_id": MASK, "num_codes": CODES, "keys_B": KEYS}
    with pytest.raises(ValueError, match=r"12 tokens a clip, and a sampler for the grid \(2, 2, 2\)"):
        FrameDecoding(grid=(2, 2, 2))(toy, CONDITION, VISIBLE, **call)
    with pytest.raises(ValueError, match="no code 7 among 7"):
        SpeakingDecoding(empty=7)(toy, CONDITION, VISIBLE, **call)
