"""The classifiers that share one contract: sizes, heads, gradients, norms, precision, and that they see time."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from tests.nn.weights import quick_jit, random_params
from videogvt.nn.classifiers import CLASSIFIERS, Classifier, make_classifier
from videogvt.nn.classifiers.cnns import FrameCnnAttention, I3DClassifier, SlowFast
from videogvt.nn.classifiers.codes import ViViT
from videogvt.nn.i3d import I3D

VIDEO, LATENTS, CODES = (1, 16, 64, 64, 3), (1, 4, 16, 16, 16), (1, 4, 16, 16)
NETWORKS = [name for name, kind in CLASSIFIERS.items() if issubclass(kind, Classifier)]
PIXELS = [name for name in NETWORKS if CLASSIFIERS[name].sees == "pixels"]
NORMED = ["frame_cnn_attention", "i3d", "slowfast"]
# A layer over a cell and its place, 8 queries, 4 values, two layers over what they bring from 4 times, the head.
POOLING = 34 * 64 + 64 + 64 * 8 + 64 * 4 + 4 + 4 * 8 * 6 * 128 + 128 + 128 * 128 + 128 + 128 * 5 + 5
TINY = {
    "linear_probe": {"num_codes": 7, "width": 3},
    "mlp": {"num_codes": 7, "width": 3, "hidden": 8},
    "attention_pooling": {"num_codes": 7, "width": 8, "features": 8, "queries": 3, "hidden": 8},
    "code_transformer": {"num_codes": 7, "width": 3, "hidden": 8, "layers": 1, "num_heads": 2, "mlp": 8},
    "cnn3d": {"filters": (3, 4), "hidden": 8},
    "frame_cnn_attention": {"filters": (4, 4, 4), "width": 8, "temporal": (8, 8), "num_heads": 2, "hidden": 8},
    "i3d": {},
    "slowfast": {"depths": (1, 1, 1, 1), "width": 4, "alpha": 2, "beta": 2},
    "vivit": {"hidden": 8, "num_heads": 2, "mlp": 8, "spatial_layers": 1, "temporal_layers": 1},
}


def tiny(name, num_positions=3, **fields):
    return make_classifier({"network": name, **TINY[name], **fields}, 5, num_positions)


def inputs_of(name, batch=4):
    rng = np.random.default_rng(0)
    if CLASSIFIERS[name].sees == "codes":
        return jnp.asarray(rng.integers(0, 7, (batch, 3, 4, 2)), jnp.int32)
    return jnp.asarray(rng.random((batch, 4, 32, 32, 3)), jnp.float32)


def variables_of(model, inputs):
    """Random parameters, and the collection of statistics that BatchNorm begins with, if any."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))
    params = random_params(model, inputs.shape, dtype=inputs.dtype)
    stats = flatten_dict(shapes["batch_stats"]) if "batch_stats" in shapes else {}
    stats = {path: jnp.full(leaf.shape, path[-1] == "var", leaf.dtype) for path, leaf in stats.items()}
    return params, {"batch_stats": unflatten_dict(stats)} if stats else {}


def sizes(model, shape, dtype=jnp.float32):
    """(parameters, batch statistics), in numbers."""
    tree = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, dtype))
    return tuple(sum(leaf.size for leaf in jax.tree.leaves(tree.get(kind, {}))) for kind in ("params", "batch_stats"))


@pytest.mark.parametrize(
    "name, fields, shape, dtype, expected",
    [
        # 16,384 numbers of a clip's latents to 5 classes; of codes, 16 for each of 1,024 besides
        ("linear_probe", {}, LATENTS, "float32", (16_384 * 5 + 5, 0)),
        ("linear_probe", {"num_codes": 1024}, CODES, "int32", (16_384 * 5 + 5 + 16_384, 0)),
        ("mlp", {}, LATENTS, "float32", (16_384 * 128 + 128 + 128 * 128 + 128 + 128 * 5 + 5, 0)),
        # a linear map or a table, and the rest
        ("attention_pooling", {}, LATENTS, "float32",
         (16 * 32 + 32 + POOLING, 0)),
        ("attention_pooling", {"num_codes": 1024}, CODES, "int32",
         (1024 * 32 + POOLING, 0)),
        ("attention_pooling", {"num_codes": 1024, "blocks": 2}, CODES, "int32",
         (1024 * 32 + POOLING + 2 * (9 * 64 * 64 + 64), 0)),
        # two linear maps, 256 places, three layers, the last norm, the head
        ("code_transformer", {}, LATENTS, "float32",
         (16 * 16 + 16 + 64 * 96 + 96 + 256 * 96 + 3 * (12 * 96**2 + 13 * 96) + 2 * 96 + 96 * 5 + 5, 0)),
        ("cnn3d", {}, VIDEO, "float32",
         (27 * (3 * 16 + 16 * 32 + 32 * 64) + 16 + 32 + 64 + 2 * 8 * 8 * 64 * 128 + 128 + 128 * 5 + 5, 0)),
        ("slowfast", {}, VIDEO, "float32", (4_913_513, 17_816)),
        ("vivit", {}, VIDEO, "float32", (1_391_109, 0)),
    ],
)
def test_parameter_counts(name, fields, shape, dtype, expected):
    assert sizes(make_classifier({"network": name, **fields}, 5), shape, dtype) == expected


def test_the_head_of_a_position_sees_what_the_queries_brought():
    both = sizes(make_classifier({"network": "attention_pooling"}, 5, 3), LATENTS)
    assert both == (16 * 32 + 32 + POOLING + 4 * 8 * 6 * 5 + (128 + 4 * 8 * 6) * 3 + 3, 0)


def test_the_counts_of_the_networks_they_are_named_for():
    """4,191,879 of the frame network; 34.48 M of SlowFast 4x16 and 34.57 M of 8x8 (R50); 115.1 M of ViViT-B/16x2."""
    assert sum(sizes(FrameCnnAttention(4, 3), VIDEO)) == 4_191_879
    clip, r50 = (1, 32, 224, 224, 3), {"depths": (3, 4, 6, 3), "width": 64}
    assert sizes(SlowFast(400, **r50, alpha=8, lateral_frames=5), clip)[0] == 34_480_216
    assert sizes(SlowFast(400, **r50, alpha=4, lateral_frames=7), clip)[0] == 34_566_488
    base = ViViT(400, hidden=768, num_heads=12, mlp=3072, spatial_layers=12, temporal_layers=4)
    assert sizes(base, clip)[0] == 115_062_928
    fixed = sizes(I3D(400), clip)[0]  # which counts the statistics among its parameters
    assert sizes(I3DClassifier(400), clip) == (12_697_264, fixed - 12_697_264)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("num_classes, num_positions", [(5, 0), (0, 3), (5, 3)])
def test_heads_are_those_asked_for_in_float32(name, num_classes, num_positions):
    model = make_classifier({"network": name, **TINY[name], "dtype": "bfloat16"}, num_classes, num_positions)
    inputs = inputs_of(name, 2)
    heads, tree = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), inputs))
    assert {key: leaf.shape for key, leaf in heads.items()} == {
        key: (2, size) for key, size in (("logits", num_classes), ("position", num_positions)) if size}
    assert {leaf.dtype for leaf in jax.tree.leaves((heads, tree))} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_what_it_computes_in(name):
    model, inputs = tiny(name, dtype="bfloat16"), inputs_of(name, 1)
    tree = jax.eval_shape(lambda: model.init(jax.random.key(0), inputs))
    program = str(jax.make_jaxpr(lambda tree: model.apply(tree, inputs))(tree))
    assert set(re.findall(r":(\w+)\[[\d,]*\] = conv_general_dilated", program)) <= {"bf16"}
    assert "bf16" in program
    for operation in ("rsqrt", "exp", "reduce_sum"):
        assert set(re.findall(rf":(\w+)\[[\d,]*\] = {operation}\b", program)) <= {"f32", "i32"}


COMPILED = [pytest.param(name, marks=pytest.mark.slow) if name == "i3d" else name for name in NETWORKS]


@pytest.fixture(scope="module", params=COMPILED)
def trained(request):
    """A small network with random weights: gradients of a loss on both heads and its training heads; a function of
    inputs, which answers as in use."""
    name = request.param
    model, inputs = tiny(name), inputs_of(name)
    params, stats = variables_of(model, inputs)

    def loss(params):
        heads, moved = model.apply({"params": params, **stats}, inputs, train=True, mutable=["batch_stats"])
        position_B3 = heads["position"] - jnp.arange(12.0).reshape(4, 3)
        return -jax.nn.log_softmax(heads["logits"])[:, 1].mean() + jnp.square(position_B3).mean(), (heads, moved)

    grads, (heads, moved) = quick_jit(jax.grad(loss, has_aux=True))(params)
    use = quick_jit(lambda inputs: model.apply({"params": params, **stats}, inputs))
    return name, inputs, grads, heads, moved, use


NORMED_BIASES = {"frame_cnn_attention": ("conv_0", "conv_1", "conv_2", "time_0", "time_1")}


def cancelled(name, path):
    """Whether what a leaf adds is taken away again, so that its gradient is 0 but for rounding: the bias of keys, the
    same for all that softmax compares, and biases whose mean over the batch BatchNorm subtracts at once."""
    return path[-2:] == ("key", "bias") or (path[-1] == "bias" and path[0] in NORMED_BIASES.get(name, ()))


def test_every_leaf_learns(trained):
    """But those that cannot."""
    name, _, grads, *_ = trained
    for path, leaf in flatten_dict(grads).items():
        assert np.isfinite(leaf).all(), path
        if cancelled(name, path):
            np.testing.assert_allclose(leaf, 0.0, atol=1e-4, err_msg=str(path))
        else:
            assert np.abs(leaf).max() > 1e-7, path


def test_clips_are_seen_one_by_one_in_use_and_together_by_batch_norm_in_training(trained):
    name, inputs, _, heads, moved, use = trained
    both = use(inputs)
    alone = use(jnp.broadcast_to(inputs[1:2], inputs.shape))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b[0], atol=1e-4), both, alone)
    difference = max(np.abs(both[key] - heads[key]).max() for key in both)
    assert (difference > 1e-2) if name in NORMED else (difference < 1e-4)
    assert bool(jax.tree.leaves(moved)) == (name in NORMED)
    for path, leaf in flatten_dict(moved).items():
        assert leaf.dtype == jnp.float32 and np.abs(leaf - (path[-1] == "var")).max() > 1e-5, path


def test_order_in_time_matters(trained):
    name, inputs, *_, use = trained
    plain, shuffled = use(inputs), use(inputs[:, jnp.array([1, 2, 0, 3])[: inputs.shape[1]]])
    for key in plain:
        assert np.abs(plain[key] - shuffled[key]).max() > 1e-3


def test_pooling_by_attention_shows_where_it_looks():
    model = tiny("attention_pooling")
    codes = inputs_of("attention_pooling")
    params, _ = variables_of(model, codes)
    look = quick_jit(lambda params, codes: model.apply({"params": params}, codes, method="attention"))
    maps = look(params, codes)
    assert maps.shape == (4, 3, 3, 4, 2) and maps.dtype == jnp.float32
    np.testing.assert_allclose(maps.sum((3, 4)), 1.0, atol=1e-5)
    # The first query asks for code 4, the second for the last row; the third for nothing, and looks everywhere.
    params = jax.tree.map(jnp.zeros_like, params)
    params["codes"]["embedding"] = params["codes"]["embedding"].at[4, 0].set(3.0)
    params["cells"]["kernel"] = params["cells"]["kernel"].at[0, 0].set(1.0).at[8, 1].set(1.0)
    params["queries"]["kernel"] = params["queries"]["kernel"].at[0, 0].set(20.0).at[1, 1].set(20.0)
    codes = jnp.zeros((4, 3, 4, 2), jnp.int32).at[0, :, 1, 1].set(4)
    maps = look(params, codes)
    np.testing.assert_allclose(maps[0, 0, :, 1, 1], 1.0, atol=1e-4)
    np.testing.assert_allclose(maps[0, 1, :, 3], 1 / 2, atol=1e-4)
    np.testing.assert_allclose(maps[0, 2], 1 / 8, atol=1e-6)


def test_blocks_see_the_neighbours_of_a_cell_at_its_time():
    """With two blocks a code reaches what its queries see from two cells away, at no other time."""
    model = tiny("attention_pooling", blocks=2)
    codes = jnp.zeros((1, 3, 8, 8), jnp.int32)
    params, _ = variables_of(model, codes)
    look = quick_jit(lambda codes: model.apply({"params": params}, codes, method="attention"))
    scores = jnp.log(look(codes)), jnp.log(look(codes.at[0, 1, 4, 4].set(4)))
    # Scores are known up to their sum over space, so a far cell is the measure.
    moved_thw = np.abs(np.diff([one[0] - one[0, ..., :1, :1] for one in scores], axis=0)[0]).max(0) > 1e-6
    expected = np.zeros((3, 8, 8), bool)
    expected[1, 2:7, 2:7] = True
    np.testing.assert_array_equal(moved_thw, expected)


@pytest.mark.parametrize("name", ["linear_probe", "attention_pooling"])
def test_latents_do_for_codes(name):
    """A table of codes as latents gives what the codes give, where the tables agree."""
    codes, model = inputs_of(name), tiny(name)
    params, _ = variables_of(model, codes)
    table = params.pop("codes")["embedding"]
    if name == "attention_pooling":
        params["latents"] = {"kernel": jnp.eye(8), "bias": jnp.zeros(8)}
    latents = quick_jit(tiny(name, num_codes=0).apply)({"params": params}, table[codes])
    expected = quick_jit(model.apply)({"params": params | {"codes": {"embedding": table}}}, codes)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), latents, expected)


def test_dropout_is_for_training():
    model, codes = tiny("mlp", dropout=0.5), inputs_of("mlp")
    params, _ = variables_of(model, codes)
    apply = quick_jit(lambda key: model.apply({"params": params}, codes, train=True, rngs={"dropout": key})["logits"])
    train = [apply(jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(train[0], train[1])
    assert np.abs(train[0] - train[2]).max() > 1e-3


def test_errors_say_what_to_do():
    def init(model, shape, dtype=jnp.float32):
        return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, dtype))

    with pytest.raises(ValueError, match="num_classes=0 and num_positions=0"):
        make_classifier({"network": "cnn3d"}, 0)
    with pytest.raises(ValueError, match="The judge has no position head.*frame_cnn_attention"):
        make_classifier({"network": "judge"}, 5, 3)
    with pytest.raises(ValueError, match="Did you mean 'attention_pooling'"):
        make_classifier({"network": "atention_pooling"}, 5)
    with pytest.raises(ValueError, match="Did you mean 'hidden'"):
        make_classifier({"network": "vivit", "hiden": 8}, 5)
    with pytest.raises(ValueError, match="num_codes=7 a Mlp sees codes.*found float32"):
        init(tiny("mlp"), (1, 3, 4, 2, 3))
    with pytest.raises(ValueError, match="num_codes=0 a Mlp sees latents.*found int32"):
        init(tiny("mlp", num_codes=0), (1, 3, 4, 2), jnp.int32)
    with pytest.raises(ValueError, match=r"Found token 7 at index \(0, 0, 0, 0\)"):
        tiny("linear_probe").init(jax.random.key(0), jnp.full((1, 3, 4, 2), 7))
    with pytest.raises(ValueError, match=r"no whole number of patches of \(1, 2, 2\)"):
        init(tiny("code_transformer"), (1, 3, 5, 2), jnp.int32)
    for name in PIXELS:
        with pytest.raises(ValueError, match="sees videos.*Divide bytes by 255"):
            init(tiny(name), (1, 4, 32, 32, 3), jnp.uint8)
    with pytest.raises(ValueError, match="SlowFast needs frames in multiples of 2; found frames = 5"):
        init(tiny("slowfast"), (1, 5, 32, 32, 3))
    with pytest.raises(ValueError, match="FrameCnnAttention needs width in multiples of 16"):
        init(tiny("frame_cnn_attention"), (1, 4, 32, 40, 3))
    with pytest.raises(ValueError, match="beta must divide the width"):
        tiny("slowfast", width=5)
    with pytest.raises(ValueError, match="heads must divide the width; found 8 and 3 heads"):
        init(tiny("vivit", num_heads=3), (1, 4, 32, 32, 3))
