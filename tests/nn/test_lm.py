"""The causal transformer: its equations, what it may see, and steps with a cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.nn.weights import quick_jit, random_params
from videogvt.nn.lm import CausalTransformer

TINY = {"vocab_size": 11, "sequence_length": 7, "layers": 2, "hidden": 8, "heads": 2, "mlp": 12}
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 7))


def tiny(**fields):
    return CausalTransformer(**TINY | fields)


@functools.cache
def variables(**fields):
    return {"params": random_params(tiny(**fields), (1, 7), dtype=jnp.int32)}


def logits_of(model, params, tokens=TOKENS):
    return quick_jit(model.apply)(params, jnp.asarray(tokens))


def layer_norm(params, x):
    centred = x - x.mean(-1, keepdims=True)
    return params["scale"] * centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-6) + params["bias"]


def reference(params, tokens):
    """Logits (L, V) of one sequence in float64, position by position and head by head."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    words = params["words"]["embedding"]
    x = words[tokens] + params["positions"]["embedding"][:len(tokens)]
    for layer in (params["layer_0"], params["layer_1"]):
        inputs, kernels = layer_norm(layer["attention_ln"], x), {k: v["kernel"] for k, v in layer["attention"].items()}
        x = x.copy()
        for here in range(len(tokens)):
            for head in range(2):
                query = inputs[here] @ kernels["query"][:, head]
                key, value = (inputs[:here + 1] @ kernels[name][:, head] for name in ("key", "value"))
                weights = np.exp(key @ query / np.sqrt(query.size))
                x[here] += weights @ value / weights.sum() @ kernels["out"][head]
        hidden = layer_norm(layer["mlp_ln"], x) @ layer["mlp_in"]["kernel"] + layer["mlp_in"]["bias"]
        hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        x = x + hidden @ layer["mlp_out"]["kernel"] + layer["mlp_out"]["bias"]
    x = layer_norm(params["final_ln"], x)
    if "head" not in params:
        return x @ words.T / np.sqrt(x.shape[-1])
    return x @ params["head"]["kernel"] + params["head"]["bias"]


@pytest.mark.parametrize("tie", [False, True])
def test_it_is_the_equations(tie):
    params = variables(tie_embeddings=tie)
    logits = logits_of(tiny(tie_embeddings=tie), params)
    assert logits.dtype == jnp.float32
    for found, tokens in zip(logits, TOKENS):
        np.testing.assert_allclose(found, reference(params["params"], tokens), atol=2e-5)
    shorter = logits_of(tiny(tie_embeddings=tie), params, TOKENS[:, :4])
    np.testing.assert_allclose(shorter, logits[:, :4], atol=1e-5)


def test_a_later_token_never_changes_earlier_logits():
    """Whatever the ids are, 0 included; and the logits from there on do change."""
    run = quick_jit(tiny().apply)
    for base in (TOKENS, np.zeros_like(TOKENS)):
        logits = np.asarray(run(variables(), base))
        for place in range(7):
            for token in (0, 5, 10):
                changed = base.copy()
                changed[:, place] = token
                moved = np.asarray(run(variables(), changed))
                np.testing.assert_array_equal(moved[:, :place], logits[:, :place])
                differs = base[:, place] != token
                assert (np.abs(moved - logits)[differs, place:].max(-1) > 1e-6).all()


@pytest.mark.parametrize("tie", [False, True])
def test_steps_in_a_scan_say_what_the_whole_sequence_says(tie):
    model, params = tiny(tie_embeddings=tie), variables(tie_embeddings=tie)

    @quick_jit
    def by_steps(params, tokens_BL):
        def body(cache, inputs):
            logits_BV, cache = model.apply(params, *inputs, cache, method="step")
            return cache, logits_BV

        return jax.lax.scan(body, model.init_cache(tokens_BL.shape[0]), (tokens_BL.T, jnp.arange(tokens_BL.shape[1])))

    cache, logits_LBV = by_steps(params, TOKENS)
    assert jax.tree.map(jnp.shape, cache) == ({"key": (3, 7, 2, 4), "value": (3, 7, 2, 4)},) * 2
    np.testing.assert_allclose(logits_LBV.swapaxes(0, 1), logits_of(model, params), atol=1e-5)


def test_what_lies_behind_a_position_in_the_cache_does_not_matter():
    model, cache = tiny(), tiny().init_cache(3)
    noise = jax.tree.map(lambda leaf: leaf + 100.0, cache)
    step = quick_jit(functools.partial(model.apply, method="step"))
    clean, _ = step(variables(), TOKENS[:, 0], 0, cache)
    dirty, _ = step(variables(), TOKENS[:, 0], 0, noise)
    np.testing.assert_array_equal(clean, dirty)
    beyond, _ = step(variables(), TOKENS[:, 0], 7, cache)
    assert np.isnan(beyond).all()


def test_a_step_costs_at_most_linearly_in_the_length():
    """By the operations of the compiled programs; without a cache every token would cost a whole sequence."""

    def flops(length):
        model = tiny(sequence_length=length, layers=1)
        params = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, length), jnp.int32))
        numbers = jax.ShapeDtypeStruct((2,), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)
        step = quick_jit(functools.partial(model.apply, method="step")).lower(params, *numbers, model.init_cache(2))
        whole = quick_jit(model.apply).lower(params, jax.ShapeDtypeStruct((2, length), jnp.int32))
        return [lowered.compile().cost_analysis()["flops"] for lowered in (step, whole)]

    (step_1, _), (step_2, whole_2), (step_4, whole_4) = map(flops, (128, 256, 512))
    assert 0 < step_4 - step_2 < 2.05 * (step_2 - step_1)
    assert whole_4 > 3 * whole_2 > 100 * step_2


def test_names_and_total():
    tokens = jax.ShapeDtypeStruct((1, 7), jnp.int32)
    plain, tied = (
        flatten_dict(jax.eval_shape(tiny(tie_embeddings=tie).init, jax.random.key(0), tokens)["params"], sep="/")
        for tie in (False, True))
    layer = {f"attention/{name}/kernel" for name in ("query", "key", "value", "out")} | {
        f"{name}/{leaf}" for name, leaves in (
            ("attention_ln", ("scale", "bias")), ("mlp_ln", ("scale", "bias")), ("mlp_in", ("kernel", "bias")),
            ("mlp_out", ("kernel", "bias"))) for leaf in leaves}
    shared = {"words/embedding", "positions/embedding", "final_ln/scale", "final_ln/bias"}
    assert tied.keys() == shared | {f"layer_{index}/{name}" for index in range(2) for name in layer}
    assert plain.keys() == tied.keys() | {"head/kernel", "head/bias"}
    assert sum(leaf.size for leaf in tied.values()) == (11 + 7) * 8 + 2 * 8 + 2 * (4 * 64 + 4 * 8 + 2 * 96 + 12 + 8)


def test_initial_values():
    fields = {"vocab_size": 96, "sequence_length": 48, "layers": 1, "hidden": 64, "heads": 4, "mlp": 128}
    for tie in (False, True):
        model = CausalTransformer(**fields, tie_embeddings=tie)
        params = quick_jit(model.init)(jax.random.key(0), jnp.zeros((1, 48), jnp.int32))["params"]
        query, out = (params["layer_0"]["attention"][name]["kernel"] for name in ("query", "out"))
        for kernel, bound in ((query, np.sqrt(6 / 128)), (out, np.sqrt(6 / 128)),
                              (params["layer_0"]["mlp_in"]["kernel"], np.sqrt(6 / 192))):
            assert 0.98 * bound < np.abs(kernel).max() <= bound
        std = 1.0 if tie else np.sqrt(2 / (96 + 64))
        np.testing.assert_allclose(params["words"]["embedding"].std(), std, rtol=0.05)


def test_bfloat16_and_dropout():
    model = tiny(dtype="bfloat16", dropout=0.3)
    logits = logits_of(model, variables())
    assert logits.dtype == jnp.float32 and model.init_cache(1)[0]["key"].dtype == jnp.bfloat16
    np.testing.assert_allclose(logits, logits_of(tiny(), variables()), atol=0.1)

    @quick_jit
    def train(params, key):
        return jax.grad(lambda params: model.apply(params, TOKENS, train=True, rngs={"dropout": key}).std())(params)

    one, other = (jax.tree.leaves(train(variables(), jax.random.key(seed))) for seed in (0, 1))
    assert all(np.isfinite(leaf).all() for leaf in one)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(one, other))


def test_errors_and_nan_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"tokens of shape \(1, 8\); expected \(B, length\).*sequence_length=7"):
        tiny().apply(variables(), np.zeros((1, 8), np.int32))
    with pytest.raises(ValueError, match=r"Found token -1 at index \(0, 2\)"):
        tiny().apply(variables(), np.array([[0, 1, -1]]))
    with pytest.raises(ValueError, match=r"Found token 11 at index \(1, 0\)"):
        tiny().apply(variables(), np.array([1, 11]), 0, tiny().init_cache(2), method="step")
    logits = logits_of(tiny(), variables(), [[0, 1, -1, 2], [0, 1, 2, 2]])
    assert np.isnan(logits[0]).all() and np.isfinite(logits[1]).all()
    with pytest.raises(ValueError, match="heads must divide hidden"):
        tiny(heads=3)
