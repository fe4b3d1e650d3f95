"""ResNet-50 against the published layout, and its loader."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.nn.weights import random_params, random_video
from videogvt.nn.resnet import ResNet50, convert_state_dict, load_resnet50, resize

pytestmark = pytest.mark.optimized

TINY = {"stages": (1, 2), "width": 4, "num_classes": 5, "frame_size": 20}


def as_state_dict(params):
    """Parameters under torchvision's names and layouts."""
    leaves = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var", "bias": "bias"}
    result = {}
    for (*modules, leaf), value in flatten_dict(params).items():
        value = np.asarray(value)
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        result[".".join(modules).replace("_", ".") + "." + leaves[leaf]] = np.ascontiguousarray(value)
    return result


def numpy_conv(x, weight, stride):
    """x (H, W, C), weight (out, in, h, w), padded by half the kernel."""
    size = weight.shape[-1]
    x = np.pad(x, [((size - 1) // 2,) * 2] * 2 + [(0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[::stride, ::stride]
    return np.einsum("hwcyx,ocyx->hwo", windows, weight)


def numpy_resnet(state, x):
    """The network of ``TINY`` on one frame of 20 x 20, with one block in the first stage and two in the second."""
    def norm(name, x):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return (x - mean) / np.sqrt(var + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]

    def relu(x):
        return np.maximum(x, 0)

    def bottleneck(name, x, stride):
        y = relu(norm(f"{name}.bn1", numpy_conv(x, state[f"{name}.conv1.weight"], 1)))
        y = relu(norm(f"{name}.bn2", numpy_conv(y, state[f"{name}.conv2.weight"], stride)))
        y = norm(f"{name}.bn3", numpy_conv(y, state[f"{name}.conv3.weight"], 1))
        if f"{name}.downsample.0.weight" in state:
            x = norm(f"{name}.downsample.1", numpy_conv(x, state[f"{name}.downsample.0.weight"], stride))
        return relu(x + y)

    x = (x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = relu(norm("bn1", numpy_conv(x, state["conv1.weight"], 2)))
    x = np.pad(x, [(1, 1), (1, 1), (0, 0)], constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max((-1, -2))
    x = bottleneck("layer1.0", x, 1)
    x = bottleneck("layer2.1", bottleneck("layer2.0", x, 2), 1)
    return x.mean((0, 1)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.fixture(scope="module")
def case():
    model = ResNet50(**TINY)
    return model, random_params(model, (1, 1, 20, 20, 3))


def test_logits_are_those_of_the_published_layout(case):
    model, params = case
    video = random_video((1, 2, 20, 20, 3))
    state = as_state_dict(params)
    logits = jax.jit(model.apply)({"params": convert_state_dict(state, model)}, video)
    assert logits.shape == (1, 2, 5)
    np.testing.assert_allclose(logits[0], [numpy_resnet(state, frame) for frame in video[0]], rtol=1e-3, atol=1e-3)


def test_the_whole_network_has_torchvision_s_names_and_number_of_parameters():
    shape = jax.ShapeDtypeStruct((2, 3, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(ResNet50().init, jax.random.key(0), shape)["params"]
    statistics = sum(leaf.size for path, leaf in flatten_dict(params).items() if path[-1] in ("mean", "var"))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) - statistics == 25_557_032  # torchvision's count
    assert {name for name in params if name.startswith("layer")} == {
        f"layer{stage + 1}_{block}" for stage, blocks in enumerate((3, 4, 6, 3)) for block in range(blocks)}
    features = ResNet50(output="features")
    out = jax.eval_shape(lambda p, x: features.apply({"params": p}, x), params, shape)
    assert out.shape == (2, 3, 7, 7, 2048)


def test_weights_come_from_a_file_and_a_bad_one_is_named(case, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    model, params = case
    state = as_state_dict(params)
    safetensors.save_file(state, tmp_path / "weights.safetensors")
    loaded = load_resnet50(str(tmp_path / "weights.safetensors"), model)
    for path, value in flatten_dict(params).items():
        np.testing.assert_array_equal(flatten_dict(loaded)[path], value)
    with pytest.raises(FileNotFoundError, match="missing.pth.*torchvision.models.resnet50"):
        load_resnet50(str(tmp_path / "missing.pth"))
    (tmp_path / "weights.h5").touch()
    with pytest.raises(ValueError, match=r"Expected weights in a .pth, .* file, found '.*weights.h5'"):
        load_resnet50(str(tmp_path / "weights.h5"))
    del state["conv1.weight"]
    message = r"1 of \d+ tensors do not fit.*conv1.weight: missing, expected \(4, 3, 7, 7\)"
    with pytest.raises(ValueError, match=message):
        convert_state_dict(state, model)


def test_frames_are_resized_if_either_side_differs():
    frames = jnp.zeros((1, 20, 24, 3))
    assert resize(frames, 20).shape == (1, 20, 20, 3)
    line = jnp.asarray([0.0, 1.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(resize(line, 4)[0, 0, :, 0], [0, 0.25, 0.75, 1])


def test_unknown_outputs_are_refused():
    with pytest.raises(ValueError, match="'logits' and 'features', found 'pool'"):
        jax.eval_shape(ResNet50(output="pool").init, jax.random.key(0), jnp.zeros((1, 1, 8, 8, 3)))
