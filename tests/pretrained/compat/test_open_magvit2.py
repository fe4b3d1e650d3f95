"""Open-MAGVIT2's video tokenizer: outputs of an independent module with the same weights, and files that are wrong."""

import logging
import struct
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.nn.weights import quick_jit, random_video
from videogvt import VideoTokenizer
from videogvt.core.trees import frozen
from videogvt.nn import tokenizer as networks
from videogvt.pretrained.compat import open_magvit2

pytestmark = pytest.mark.optimized

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
theirs = pytest.importorskip("tests.pretrained.compat.torch_open_magvit2")
randomize = pytest.importorskip("tests.nn.torch_networks").randomize

TOTALS = {"encoder": 144_865_298, "decoder": 225_682_051}


@pytest.fixture(scope="module")
def twins():
    """Two networks of random weights: as trained, and averaged."""
    return tuple(randomize(theirs.OpenMagvit2(**theirs.WIDTHS), seed) for seed in (0, 1))


@pytest.fixture(scope="module")
def file(twins, tmp_path_factory):
    path = tmp_path_factory.mktemp("open_magvit2") / "tiny.ckpt"
    torch.save(theirs.checkpoint(*twins), path)
    return path


@pytest.fixture(scope="module")
def loaded(file):
    return VideoTokenizer.load(f"open_magvit2:{file}")


def of_torch(network, video_BTHWC):
    """Latents, codes and what the codes decode to, channels last, in [0, 1]."""
    with torch.no_grad():
        z = network.encoder(torch.from_numpy(2 * np.moveaxis(video_BTHWC, -1, 1) - 1))
        made = (network.decode(z) + 1) / 2
        return np.moveaxis(z.numpy(), 1, -1), network.codes(z).numpy(), np.moveaxis(made.numpy(), 1, -1)


@pytest.mark.parametrize("shape", [(2, 5, 8, 12, 3), (1, 1, 12, 8, 3)], ids=["clips", "picture"])
def test_latents_codes_and_pixels_are_the_independent_module_s(twins, loaded, shape):
    video = random_video(shape)
    z, codes, made = of_torch(twins[1], video)

    @quick_jit
    def run(params, video, codes):
        def call(array, method):
            return loaded.network.apply({"params": params}, array, method=method)

        return call(video, "encode"), call(video, "codes"), call(call(codes, "embed"), "decode")

    ours = run(loaded.params, video, codes)
    assert z.std() > 0.1 and made.std() > 0.1 and len(np.unique(codes)) > 1
    np.testing.assert_allclose(ours[0], z, atol=1e-4 * np.abs(z).max())
    np.testing.assert_array_equal(ours[1], codes)
    np.testing.assert_allclose(ours[2], made, atol=1e-4 * np.abs(made).max())
    assert loaded.network.latent_shape(shape[1:4]) == codes.shape[1:]


def test_it_is_used_as_our_own_are(twins, loaded):
    video = random_video((1, 1, 8, 8, 3))
    _, codes, made = of_torch(twins[1], video)
    assert loaded.window == 17 and loaded.num_codes == 64 and loaded.strides == (2, 4, 4)
    np.testing.assert_array_equal(loaded.codes(video), codes)
    np.testing.assert_allclose(loaded.video(codes), np.clip(made, 0, 1), atol=1e-4)


def test_the_average_is_preferred_and_the_other_weights_are_there(twins, file, loaded, tmp_path):
    def kernel(tokenizer):
        return np.asarray(tokenizer.params["encoder"]["Conv_0"]["kernel"])

    def stored(network):
        return np.moveaxis(network.encoder.conv_in.conv_1.weight.detach().numpy(), (0, 1), (4, 3))

    np.testing.assert_array_equal(kernel(loaded), stored(twins[1]))
    np.testing.assert_array_equal(
        kernel(VideoTokenizer.load(f"open_magvit2:{file}", weights="params")), stored(twins[0]))
    safetensors.save_file(twins[0].state_dict(), tmp_path / "trained.safetensors")
    np.testing.assert_array_equal(
        kernel(VideoTokenizer.load(f"open_magvit2:{tmp_path}/trained.safetensors")), stored(twins[0]))
    with pytest.raises(ValueError, match="'emma'"):
        VideoTokenizer.load(f"open_magvit2:{file}", weights="emma")


def test_every_tensor_is_used_once_or_told(file, caplog):
    state = torch.load(file, weights_only=True)["state_dict"]
    with caplog.at_level(logging.INFO):
        stored = open_magvit2.tokenizer(file, "ema")
    leaves = flatten_dict(stored.params)
    sizes = len(stored.config["channel_multipliers"]), stored.config["encoder_blocks"]
    names = [open_magvit2.theirs(path, *sizes) for path in leaves]
    assert len(set(names)) == len(names)
    averaged = {open_magvit2.average_name(name) for name in names}
    assert len(averaged) == len(names)
    left = {name for name in state if name not in averaged | set(names)}
    assert {open_magvit2.group(name) for name in left} == set(open_magvit2.OTHERS) - {"tables of the quantizer"}
    assert f"{len(names)} tensors, averaged; left out are" in caplog.text
    assert f"'the other set of weights': {len(names)}" in caplog.text and "'discriminator': 4" in caplog.text


def test_the_public_network_has_these_tensors_and_totals():
    with torch.device("meta"):
        network = theirs.OpenMagvit2(**theirs.PUBLIC)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    config = open_magvit2.config_of(shapes)
    assert config["temporal_downsample"] == [False, True, True] and config["filters"] == 128
    model = networks.TokenizerNetwork(**frozen(config))
    assert (model.num_codes, model.strides, model.latent_shape((17, 128, 128))) == (2**18, (4, 8, 8), (5, 16, 16))
    video = jax.ShapeDtypeStruct((1, 17, 128, 128, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), video)["params"]
    found = {side: sum(leaf.size for leaf in jax.tree.leaves(tree)) for side, tree in params.items()}
    assert found == TOTALS and sum(found.values()) == sum(np.prod(shape) for shape in shapes.values()) == 370_547_349
    ours = {open_magvit2.theirs(path, 4, 4): leaf.size for path, leaf in flatten_dict(params).items()}
    assert ours == {name: np.prod(shape) for name, shape in shapes.items()}


def changed(file, path, **changes):
    """A copy of a checkpoint with other tensors; None takes one out."""
    saved = torch.load(file, weights_only=True)
    state = saved["state_dict"] | changes
    saved["state_dict"] = {name: value for name, value in state.items() if value is not None}
    torch.save(saved, path)
    return path


KERNEL = "model_ema.encoderdown1block0conv1conv_1weight"
WRONG = {
    "unexpected": ({"decoder.attention.weight": torch.zeros(2)}, r"1 are unknown \(decoder.attention.weight\)"),
    "counter": ({"encoder.norm.num_batches_tracked": torch.tensor(1)}, "encoder.norm.num_batches_tracked is unknown"),
    "missing": ({KERNEL: None}, f"{KERNEL}: missing, expected a convolution"),
    "lost norm": ({"model_ema.decodernorm_outbias": None}, "model_ema.decodernorm_outbias: missing, expected"),
    "shape": ({"model_ema.decoderconv_outconv_1bias": torch.zeros(4)}, r"conv_outconv_1bias: \(4,\), expected \(3,\)"),
    "integers": ({"model_ema.decoderconv_outconv_1bias": torch.zeros(3, dtype=torch.int32)}, "int32, expected"),
    "infinite": ({"model_ema.decoderconv_outconv_1bias": torch.full((3,), torch.inf)}, "conv_1bias: .*not finite"),
    "type": ({"model_ema.decoderconv_outconv_1bias": torch.zeros(3, dtype=torch.complex64)}, "complex64"),
    "giant": ({"model_ema.decoderconv_outconv_1bias": torch.zeros(1, dtype=torch.half).expand(2**50)},
              "no plain tensor with all its numbers"),
    "sparse": ({"loss.discriminator.main.0.bias": torch.eye(3).to_sparse()}, "loss.discriminator.main.0.bias"),
    "image": ({"encoder.conv_in.weight": torch.zeros(8, 3, 3, 3)}, "image tokenizer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_with_wrong_tensors_are_refused_by_name(file, tmp_path, name):
    changes, message = WRONG[name]
    path = changed(file, tmp_path / "wrong.ckpt", **changes)
    with pytest.raises(ValueError, match=message) as refused:
        VideoTokenizer.load(f"open_magvit2:{path}")
    assert str(path) in str(refused.value)


class Hostile:
    """What runs a command where it is unpickled."""

    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('ran').touch()",)


def test_nothing_in_a_file_is_run_and_no_claim_is_believed(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = file.read_bytes()
    (tmp_path / "truncated.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "short.ckpt").write_bytes(whole[:10])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    torch.save(torch.load(file, weights_only=True) | {"callbacks": Hostile()}, tmp_path / "hostile.ckpt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.ckpt")
    torch.save({"state_dict": 3}, tmp_path / "number.ckpt")
    packed = zipfile.ZipFile(tmp_path / "packed.ckpt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(file) as source, packed as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    header = struct.pack("<Q", 2**60)
    (tmp_path / "claims.safetensors").write_bytes(header + b"{}")
    (tmp_path / "cut.safetensors").write_bytes(struct.pack("<Q", 100) + b"{}")
    reasons = {
        "truncated.ckpt": "damaged", "short.ckpt": "damaged", "empty.ckpt": "damaged", "hostile.ckpt": "not read for",
        "other.ckpt": "no entry 'state_dict'", "number.ckpt": "holds int", "packed.ckpt": "is packed",
        "claims.safetensors": "its header claims", "cut.safetensors": "damaged",
    }
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=reason) as refused:
            VideoTokenizer.load(f"open_magvit2:{name}")
        assert name in str(refused.value), name
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named_with_its_size_and_its_home(tmp_path):
    with pytest.raises(FileNotFoundError, match="ucf101_lfqgan_128_262144.ckpt .2.83 GB.*SEED-Voken"):
        VideoTokenizer.load(f"open_magvit2:{tmp_path}/none.ckpt")
    with pytest.raises(ValueError, match="Expected weights in a .*ckpt.*h5"):
        (tmp_path / "weights.h5").touch()
        VideoTokenizer.load(f"open_magvit2:{tmp_path}/weights.h5")
