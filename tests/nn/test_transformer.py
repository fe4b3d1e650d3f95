"""The masked transformer against its equations in NumPy, its parameters, its precision and its paths."""

import functools
import json
import math
import pathlib
import re

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from tests.nn.weights import quick_jit, random_params
from videogvt.nn.blocks import attention_probabilities, check_tokens
from videogvt.nn.frames import frames_seen
from videogvt.nn.transformer import MaskedTransformer
from videogvt.ops import attention, linear
from videogvt.ops.attention import angles, rotate

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "param_tree.json").read_text())
SIZES = {  # of the paper (B, L, H) and of its released code
    name: {"layers": layers, "hidden": hidden, "heads": heads, "mlp": 4 * hidden}
    for name, layers, hidden, heads in (
        ("Ti", 12, 192, 3), ("S", 12, 384, 6), ("B", 12, 768, 12), ("L", 24, 1024, 16), ("H", 32, 1280, 16))
}
TINY = {"vocab_size": 11, "sequence_length": 6, "layers": 2, "hidden": 8, "heads": 2, "mlp": 12}
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 6))
SEGMENTS = np.random.default_rng(1).integers(0, 2, (3, 6))


def tiny(**fields):
    return MaskedTransformer(**TINY | fields)


def params_of(model):
    beside = np.zeros((1, model.sequence_length), int)
    return random_params(
        model, (1, model.sequence_length), dtype=jnp.int32, segments_BL=beside)


def logits_of(model, params, tokens=TOKENS):
    return quick_jit(model.apply)({"params": params}, jnp.asarray(tokens))


def shapes(model):
    tokens = jax.ShapeDtypeStruct((1, model.sequence_length), jnp.int32)
    init = lambda key, x: model.init(key, x, segments_BL=x)  # noqa: E731
    params = jax.eval_shape(init, jax.random.key(0), tokens)["params"]
    return {path: list(leaf.shape) for path, leaf in flatten_dict(params, sep="/").items()}


def total(model):
    return sum(math.prod(shape) for shape in shapes(model).values())


# The equations in float64, one sample and one head at a time.


def layer_norm(params, x):
    centred = x - x.mean(-1, keepdims=True)
    return params["scale"] * centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-12) + params["bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def dense(params, x):
    return x @ params["kernel"] + params["bias"]


def self_attention(params, x, turned=None):
    """Of (L, D); also the probabilities (A, L, L)."""
    out, maps = params["out"]["bias"], []
    for head in range(params["query"]["kernel"].shape[1]):
        query, key, value = (
            x @ params[name]["kernel"][:, head] + params[name]["bias"][head] for name in ("query", "key", "value"))
        if turned is not None:
            query, key = (
                np.asarray(rotate(vectors.astype(np.float32)[None, :, None], turned))[0, :, 0]
                for vectors in (query, key))
        weights = np.exp(query @ key.T / np.sqrt(query.shape[-1]))
        maps.append(weights / weights.sum(-1, keepdims=True))
        out = out + maps[-1] @ value @ params["out"]["kernel"][head]
    return out, np.stack(maps)


def reference(params, tokens, segments, norm, turned=None):
    """Logits (L, V) of one sequence and its attention maps (layers, A, L, L)."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    embed, head, maps = params["BertEmbed_0"], params["BertMlmLayer_0"], []
    words = embed["word_embeddings"]["embedding"]
    x = words[tokens] + embed["position_embeddings"]["embedding"]
    if "segment_embeddings" in embed:
        x = x + embed["segment_embeddings"]["embedding"][segments]
    x = layer_norm(embed["embeddings_ln"], x)
    for index in range(2):
        attention, mlp = params[f"BertLayer_{index}"]["BertAttention_0"], params[f"BertLayer_{index}"]["BertMlp_0"]
        inputs = layer_norm(attention["attention_input_ln"], x) if norm == "pre" else x
        mixed, found = self_attention(attention["self_attention"], inputs, turned)
        maps.append(found)
        x = x + mixed if norm == "pre" else layer_norm(attention["attention_output_ln"], x + mixed)
        inputs = layer_norm(mlp["layer_input_ln"], x) if norm == "pre" else x
        hidden = dense(mlp["layer_output"], gelu(dense(mlp["intermediate_output"], inputs)))
        x = x + hidden if norm == "pre" else layer_norm(mlp["layer_output_ln"], x + hidden)
    if norm == "pre":
        x = layer_norm(params["final_ln"], x)
    x = layer_norm(head["mlm_ln"], gelu(dense(head["mlm_dense"], x)))
    return x @ words.T + head["mlm_bias"]["bias"], np.stack(maps)


@pytest.mark.parametrize("norm, beside, rotary", [
    ("post", None, False), ("post", "segment", False), ("pre", None, False), ("pre", None, True)])
def test_it_is_the_equations(norm, beside, rotary):
    fields = {"rotary": True, "grid": (1, 2, 2), "hidden": 12} if rotary else {}
    turned = angles((1, 2, 2), 2, 6) if rotary else None
    model = tiny(norm=norm, **fields, **{f"{beside}_embeddings": True} if beside else {})
    given = {"segments_BL": SEGMENTS}
    params = params_of(model)
    logits = quick_jit(model.apply)({"params": params}, TOKENS, **given)
    maps = quick_jit(lambda *args: model.apply(*args, **given, method="attention_maps"))(
        {"params": params}, TOKENS)
    assert logits.dtype == maps.dtype == jnp.float32 and maps.shape == (2, 3, 2, 6, 6)
    for sample, tokens in enumerate(TOKENS):
        expected, expected_maps = reference(params, tokens, SEGMENTS[sample], norm, turned)
        np.testing.assert_allclose(logits[sample], expected, atol=2e-5)
        np.testing.assert_allclose(maps[:, sample], expected_maps, atol=1e-5)


def test_b_has_the_golden_tree():
    assert shapes(MaskedTransformer(1127, 1025)) == GOLDEN["transformer_vocab1127_len1025"]


@pytest.mark.parametrize(
    "size, vocab_size, length, count",
    [
        ("Ti", 1127, 1025, 5_790_503), ("S", 1127, 1025, 22_270_439), ("B", 1127, 1025, 87_301_991),
        ("L", 1127, 1025, 305_567_847), ("H", 1127, 1025, 634_078_567),
        ("B", 1041, 1026, 87_236_625), ("L", 1041, 1026, 305_480_721),
    ],
)
def test_totals(size, vocab_size, length, count):
    assert total(MaskedTransformer(vocab_size, length, **SIZES[size])) == count


@pytest.mark.parametrize("grid", [None, (2, 2, 2)])
def test_rotary_needs_a_grid_that_fits(grid):
    with pytest.raises(ValueError, match=re.escape(f"at most sequence_length=6 of them; found grid={grid}")):
        tiny(rotary=True, grid=grid)


def test_rotary_needs_heads_of_some_width():
    with pytest.raises(ValueError, match="found heads of width 4, expected an even number from 6 on"):
        tiny(rotary=True, grid=(1, 2, 2))


def test_variants_add_names_and_renumber_none():
    post, pre, segments, remat = (
        shapes(tiny(**fields)) for fields in ({}, {"norm": "pre"}, {"segment_embeddings": True}, {"remat": True}))
    assert segments == post | {"BertEmbed_0/segment_embeddings/embedding": [2, 8]}
    assert remat == post
    assert shapes(tiny(rotary=True, grid=(1, 2, 2), hidden=12)) == shapes(tiny(hidden=12))
    moved = {path.replace("_output_ln", "_input_ln") for path in post}
    assert pre.keys() == moved | {"final_ln/scale", "final_ln/bias"}


def test_initial_values():
    """0.02 times a normal cut at 2 stds, of which 0.8796 remain; zero biases, unit norms."""
    model = MaskedTransformer(512, 64, layers=1, hidden=128, heads=4, mlp=256)
    params = quick_jit(model.init)(jax.random.key(0), jnp.zeros((1, 64), jnp.int32))["params"]
    for path, leaf in flatten_dict(params).items():
        if path[-1] in ("kernel", "embedding"):
            assert 0.0390 < np.abs(leaf).max() <= 0.04
            np.testing.assert_allclose(leaf.std(), 0.02 * 0.87963, rtol=0.03)
        else:
            assert (np.asarray(leaf) == (path[-1] == "scale")).all()


def test_both_paths_of_attention_agree():
    """At a rate so small that nothing is dropped, what is computed in the open is what the fused function says."""
    rng = np.random.default_rng(2)
    query, key, value = rng.normal(size=(3, 2, 5, 4, 8)).astype(np.float32)
    open_path = jnp.einsum("BAQK,BKAd->BQAd", attention_probabilities(query, key), value)
    np.testing.assert_allclose(open_path, jax.nn.dot_product_attention(query, key, value), atol=1e-5)
    fused, opened = tiny(dropout=0.0, attention_dropout=0.0), tiny(dropout=0.0, attention_dropout=1e-30)
    params = params_of(fused)

    @quick_jit
    def logits_and_gradients(params):
        def loss(params, model):
            logits = model.apply({"params": params}, TOKENS, train=True, rngs={"dropout": jax.random.key(0)})
            return jnp.square(logits).mean(), logits

        return [jax.value_and_grad(loss, has_aux=True)(params, model) for model in (fused, opened)]

    ((_, plain), plain_grads), ((_, other), other_grads) = logits_and_gradients(params)
    np.testing.assert_allclose(plain, other, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), plain_grads, other_grads)


@pytest.mark.parametrize("rate, other_rate", [("dropout", "attention_dropout"), ("attention_dropout", "dropout")])
def test_dropout_is_drawn_for_every_sample_and_only_in_training(rate, other_rate):
    tokens = np.repeat(TOKENS[:1], 4, axis=0)
    model = tiny(**{rate: 0.5, other_rate: 0.0})
    params = params_of(model)
    train = quick_jit(lambda key: model.apply({"params": params}, tokens, train=True, rngs={"dropout": key}))
    first, again, other = (train(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert min(np.abs(first[0] - first[index]).max() for index in (1, 2, 3)) > 1e-3
    np.testing.assert_allclose(np.ptp(logits_of(model, params, tokens), axis=0), 0.0, atol=1e-6)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda: model.apply({"params": params}, tokens, train=True))


def test_logits_of_some_positions_and_ids_are_those_of_all():
    model = tiny()
    params = params_of(model)
    some = quick_jit(lambda params: model.apply({"params": params}, TOKENS, start=2, ids=7))(params)
    assert some.shape == (3, 4, 7)
    np.testing.assert_allclose(some, logits_of(model, params)[:, 2:, :7], rtol=1e-5, atol=1e-6)


def test_the_formulas_for_cpus_learn_as_all_others_do(monkeypatch):
    """Fifty steps from the same start have the same losses."""
    model = tiny(dropout=0.0, attention_dropout=0.0, norm="pre")
    optimizer = optax.adam(3e-3)

    def losses():
        def loss(params):
            logits = model.apply({"params": params}, jnp.asarray(TOKENS), train=True)
            return optax.softmax_cross_entropy_with_integer_labels(logits, TOKENS).mean()

        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), value

        start = params_of(model)
        return quick_jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), length=50)[1])(start)

    ours = losses()
    for module in (linear, attention):
        monkeypatch.setattr(module, "for_cpu", lambda array: False)
    assert ours[-1] < 0.5 * ours[0]
    np.testing.assert_allclose(ours, losses(), rtol=1e-4)


def test_remat_changes_neither_logits_nor_gradients():
    params = params_of(tiny())

    def gradients(model):
        def loss(params):
            logits = model.apply({"params": params}, TOKENS, train=True, rngs={"dropout": jax.random.key(0)})
            return jnp.square(logits).mean()

        return quick_jit(jax.value_and_grad(loss))(params)

    plain, remat = gradients(tiny()), gradients(tiny(remat=True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), plain, remat)


def test_bfloat16_keeps_statistics_and_logits_in_float32():
    model = tiny(dtype="bfloat16")
    params = params_of(model)
    plain = logits_of(tiny(), params)

    @quick_jit
    def run(params):
        def loss(params):
            rngs = {"dropout": jax.random.key(0)}
            return jnp.square(model.apply({"params": params}, TOKENS, train=True, rngs=rngs)).mean()

        return model.apply({"params": params}, TOKENS), jax.grad(loss)(params)

    logits, grads = run(params)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {np.dtype(np.float32)}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    np.testing.assert_allclose(logits, plain, atol=0.1)
    for train in (False, True):
        program = str(jax.make_jaxpr(
            lambda params, train=train: model.apply(
                {"params": params}, TOKENS, train=train, rngs={"dropout": jax.random.key(0)}))(params))
        for operation in ("rsqrt", "exp", "reduce_sum", "reduce_max"):
            assert set(re.findall(rf":(\w+)\[[\d,]*\] = {operation}\b", program)) == {"f32"}
        assert "bf16" in program
    halves = jax.eval_shape(tiny(param_dtype="bfloat16").init, jax.random.key(0), TOKENS)
    assert {leaf.dtype for leaf in jax.tree.leaves(halves)} == {np.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("wrong", [-1, 11])
def test_a_token_out_of_range_never_stands_for_another(wrong):
    """An error where values can be seen; inside jit nan in its own sample, and in no other."""
    model, tokens = tiny(), TOKENS.copy()
    params = params_of(model)
    tokens[1, 4] = wrong
    with pytest.raises(ValueError, match=rf"Found token {wrong} at index \(1, 4\); this model knows ids 0\.\.10"):
        model.apply({"params": params}, tokens)
    logits = logits_of(model, params, tokens)
    assert np.isnan(logits[1]).all()
    np.testing.assert_allclose(logits[::2], logits_of(model, params)[::2], atol=1e-5)


def test_errors_say_what_to_do():
    with pytest.raises(TypeError, match="Tokens are integers; found an array of float32"):
        check_tokens(jnp.zeros(3), 5)
    with pytest.raises(ValueError, match=r"tokens of shape \(3, 5\); expected \(B, 6\)"):
        jax.eval_shape(tiny().init, jax.random.key(0), TOKENS[:, :5])
    with pytest.raises(ValueError, match=r"segments_BL of shape \(3, 6\); found None"):
        jax.eval_shape(tiny(segment_embeddings=True).init, jax.random.key(0), TOKENS)
    with pytest.raises(ValueError, match="Unknown norm 'prenorm'"):
        tiny(norm="prenorm")
    with pytest.raises(ValueError, match="heads must divide hidden; found hidden=8 and heads=3"):
        tiny(heads=3)


# Frames that see none after them


def test_who_sees_whom_by_hand():
    """A prefix p and two frames a, b and c, d; then the same taught: first the true codes, then those to be told."""
    plain = """
        1 0 0 0 0
        1 1 1 0 0
        1 1 1 0 0
        1 1 1 1 1
        1 1 1 1 1"""
    taught = """
        1 0 0 0 0  0 0 0 0
        1 1 1 0 0  0 0 0 0
        1 1 1 0 0  0 0 0 0
        1 1 1 1 1  0 0 0 0
        1 1 1 1 1  0 0 0 0
        1 0 0 0 0  1 1 0 0
        1 0 0 0 0  1 1 0 0
        1 1 1 0 0  0 0 1 1
        1 1 1 0 0  0 0 1 1"""
    for expected, twice in ((plain, False), (taught, True)):
        rows = [list(map(int, line.split())) for line in expected.strip().splitlines()]
        np.testing.assert_array_equal(frames_seen((2, 1, 2), 1, twice), np.array(rows, bool))


@pytest.mark.parametrize("fields", [{}, {"attention": "xla"}, {"rotary": True, "hidden": 16}])
def test_all_frames_taught_at_once_are_those_told_one_after_another(fields):
    """Each frame's logits are those of a call that knows the frames before it, hides some of it and all after it."""
    model = tiny(sequence_length=7, grid=(3, 1, 2), causal_frames=True, **fields)
    params, rng = params_of(model), np.random.default_rng(3)
    true, told = rng.integers(0, 10, (2, 2, 7))
    true[:, 0] = told[:, 0]
    apply = quick_jit(model.apply, static_argnames=("start",))
    at_once = apply({"params": params}, told, taught_BL=jnp.asarray(true), start=1)
    for frame in range(3):
        tokens, now = rng.integers(0, 10, (2, 7)), slice(1 + 2 * frame, 3 + 2 * frame)
        tokens[:, : now.start], tokens[:, now] = true[:, : now.start], told[:, now]
        one = apply({"params": params}, jnp.asarray(tokens))[:, now]
        np.testing.assert_allclose(at_once[:, now.start - 1 : now.stop - 1], one, rtol=1e-4, atol=1e-5)
    other = told.copy()
    other[:, 1:3] = (other[:, 1:3] + 1) % 10
    changed = np.abs(apply({"params": params}, other, taught_BL=jnp.asarray(true), start=1) - at_once).max(axis=(0, 2))
    assert (changed[:2] > 1e-4).all() and (changed[2:] == 0).all()


@pytest.mark.parametrize("fields", [{}, {"rotary": True, "hidden": 16}])
def test_steps_of_a_frame_at_a_time_say_what_a_whole_call_does(fields):
    model = tiny(sequence_length=8, grid=(3, 1, 2), causal_frames=True, **fields)
    params, rng = {"params": params_of(model)}, np.random.default_rng(4)
    tokens = rng.integers(0, 10, (2, 8))
    step, cache = quick_jit(functools.partial(model.apply, method="step")), model.init_cache(2)
    parts = []
    for place in (0, 2, 4, 6):
        step(params, jnp.asarray(rng.integers(0, 10, (2, 2))), place, cache)  # what is not kept leaves no trace
        logits, cache = step(params, jnp.asarray(tokens[:, place : place + 2]), place, cache)
        parts.append(logits)
    whole = logits_of(model, params["params"], tokens)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="step is for networks with causal_frames"):
        tiny().apply({"params": params_of(tiny())}, TOKENS[:, :2], 0, tiny().init_cache(3), method="step")


def test_maps_of_causal_frames_see_nothing_later():
    model = tiny(sequence_length=5, grid=(2, 1, 2), causal_frames=True)
    maps = model.apply({"params": params_of(model)}, TOKENS[:, :5], method="attention_maps")
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)
    assert (np.asarray(maps)[..., ~frames_seen((2, 1, 2), 1, False)] == 0).all()


def test_teaching_is_refused_where_it_means_nothing():
    params = params_of(tiny())
    with pytest.raises(ValueError, match="taught_BL is for networks with causal_frames"):
        tiny().apply({"params": params}, TOKENS, taught_BL=TOKENS)
    model = tiny(grid=(2, 1, 2), causal_frames=True)
    with pytest.raises(ValueError, match="Found start=0 with taught_BL; expected 2"):
        model.apply({"params": params}, TOKENS, taught_BL=TOKENS)
    with pytest.raises(ValueError, match="causal_frames=True needs the grid"):
        tiny(causal_frames=True)
