"""MaskGIT's files: exact trees, the same numbers as independent modules, use like our own, and refusals."""

import json
import pathlib

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from PIL import Image

from tests.pretrained.compat.files import SMALL_TOKENIZER, SMALL_TRANSFORMER, random_leaves, write_msgpack
from videogvt import VideoGenerator, VideoTokenizer, modes
from videogvt.core.trees import frozen
from videogvt.nn import tokenizer as networks
from videogvt.nn.transformer import MaskedTransformer
from videogvt.pretrained import portable
from videogvt.pretrained.compat import maskgit
from videogvt.pretrained.compat.trees import tokenizer_shapes, transformer_shapes
from videogvt.pretrained.start import Start
from videogvt.train.state import TrainState

pytestmark = pytest.mark.optimized

ROOT = pathlib.Path(__file__).parents[3]
CLASSES = 30
LEVELS = 3
TORCH = "tests.pretrained.compat.torch_maskgit"


def below(name, leaves):
    return {f"{name}/{path}": leaf for path, leaf in leaves.items()}


def tree_of_tokenizer(fields=SMALL_TOKENIZER):
    return tokenizer_shapes(networks.TokenizerNetwork(**frozen(fields)))


def tree_of_transformer(side=16, fields=SMALL_TRANSFORMER, vocabulary=32 + CLASSES + 1):
    model = MaskedTransformer(vocab_size=vocabulary, sequence_length=1 + side**2, **fields)
    return {maskgit._theirs(path): shape for path, shape in transformer_shapes(model).items()}


@pytest.fixture(scope="module")
def leaves():
    """Of the small tokenizer and the small transformer, under MaskGIT's names."""
    return random_leaves(tree_of_tokenizer()), random_leaves(tree_of_transformer())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, leaves):
    folder = tmp_path_factory.mktemp("maskgit")
    for name, part in zip(("tokenizer", "maskgit"), leaves):
        write_msgpack(folder / f"{name}_imagenet256_checkpoint", below("params", part))
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The loader expects files as small as those of these tests."""
    monkeypatch.setattr(maskgit, "TOKENIZER", SMALL_TOKENIZER)
    monkeypatch.setattr(maskgit, "TRANSFORMER", SMALL_TRANSFORMER)
    monkeypatch.setattr(maskgit, "CLASSES", CLASSES)


@pytest.fixture
def tokenizer(folder):
    return VideoTokenizer.load(f"maskgit:{folder}/tokenizer_imagenet256_checkpoint")


def pictures(number=2, side=16):
    return np.random.default_rng(1).integers(0, 256, (number, 1, side, side, 3), dtype=np.uint8)


def test_trees_and_totals_are_those_of_the_released_files(monkeypatch):
    monkeypatch.undo()
    shapes = tree_of_tokenizer(maskgit.TOKENIZER)
    assert sum(map(np.prod, shapes.values())) == 54_515_587
    assert len(shapes) == (1 + 2 + 2 + 74) + (12 + 2 + 74) + 1  # convolutions, norm and blocks of both; codebook
    assert shapes["encoder/ResBlock_8/Conv_0/kernel"] == (3, 3, 256, 512)
    assert shapes["encoder/ResBlock_8/Conv_2/kernel"] == (1, 1, 512, 512)  # reads the block's output
    assert shapes["decoder/ResBlock_8/Conv_2/kernel"] == (1, 1, 128, 128)
    assert shapes["decoder/Conv_5/kernel"] == (3, 3, 128, 3) and "decoder/Conv_6/kernel" not in shapes
    assert shapes["encoder/Conv_1/kernel"] == (1, 1, 512, 256) and shapes["quantizer/codebook"] == (1024, 256)
    shapes = tree_of_transformer(16, maskgit.TRANSFORMER, 2025)
    assert sum(map(np.prod, shapes.values())) == 172_457_193
    assert shapes["Embed_0/word_embeddings/embedding"] == (2025, 768)
    assert shapes["Embed_0/position_embeddings/embedding"] == (257, 768)
    assert shapes["TransformerLayer_23/Attention_0/self_attention/query/kernel"] == (768, 16, 48)
    assert shapes["TransformerLayer_0/Mlp_0/layer_output_ln/scale"] == (768,)
    assert shapes["MlmLayer_0/mlm_bias/bias"] == (2025,)
    assert not any("Bert" in path for path in shapes)
    shapes = tree_of_transformer(32, maskgit.TRANSFORMER, 2025)
    assert sum(map(np.prod, shapes.values())) == 172_457_193 + 768 * 768


def test_one_field_is_the_difference_to_our_own_tree():
    """Two kernels differ in shape between a shortcut that reads its block's output and one that reads its input."""
    theirs, ours = (tree_of_tokenizer({**SMALL_TOKENIZER, "shortcut": kind}) for kind in ("output", "input"))
    differ = {path for path in theirs if theirs[path] != ours[path]}
    assert differ == {"encoder/ResBlock_4/Conv_2/kernel", "decoder/ResBlock_4/Conv_2/kernel"}
    with pytest.raises(ValueError, match="Did you mean 'output'"):
        tree_of_tokenizer({**SMALL_TOKENIZER, "shortcut": "outputs"})


def test_latents_codes_and_pictures_are_those_of_an_independent_tokenizer(tokenizer, leaves):
    torch_maskgit = pytest.importorskip(TORCH, reason="needs torch", exc_type=ImportError)
    video = pictures() / np.float32(255)
    expected_NhwD = torch_maskgit.latents(video[:, 0], leaves[0], LEVELS).numpy()
    apply = jax.jit(lambda x: tokenizer.network.apply({"params": tokenizer.params}, x, method="encode"))
    np.testing.assert_allclose(apply(video)[:, 0], expected_NhwD, atol=1e-4)
    codes = tokenizer.codes(video)
    distance = np.square(expected_NhwD[..., None, :] - leaves[0]["quantizer/codebook"]).sum(-1)
    np.testing.assert_array_equal(codes[:, 0], distance.argmin(-1))
    assert len(np.unique(codes)) > 5
    embedded = tokenizer.embed(codes)
    np.testing.assert_array_equal(embedded, leaves[0]["quantizer/codebook"][codes])
    import torch

    made = torch_maskgit.pictures(torch.from_numpy(embedded[:, 0]), leaves[0], LEVELS).numpy()
    assert made.min() < 0 < made.max()
    np.testing.assert_allclose(tokenizer.video(codes)[:, 0], made.clip(0, 1), atol=1e-4)


def test_logits_are_those_of_an_independent_transformer(folder, leaves):
    torch_maskgit = pytest.importorskip(TORCH, reason="needs torch", exc_type=ImportError)
    generator = VideoGenerator.load(f"maskgit:{folder}/maskgit_imagenet256_checkpoint")
    model, tokens_BL = generator.generation, np.random.default_rng(2).integers(0, 32, (2, 257)).astype(np.int32)
    assert model.vocabulary.size == 63 and model.vocabulary.mask == 62  # codes, classes, and nothing between
    tokens_BL[:, 0], tokens_BL[:, 5:90] = (32, 61), 62
    found = jax.jit(lambda tokens: model.transformer.apply({"params": generator.params}, tokens))(tokens_BL)
    expected = torch_maskgit.logits(tokens_BL, leaves[1], layers=2, heads=4).numpy()
    assert expected.std() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-4)
    prefix_B1 = model.tasks.prefix(np.zeros(2, np.int32), np.array([0, 29]))
    np.testing.assert_array_equal(prefix_B1, [[32], [61]])


def test_it_serves_as_our_own_do(tokenizer, folder):
    assert (tokenizer.num_codes, tokenizer.strides, tokenizer.window) == (32, (1, 4, 4), 1)
    video = pictures(2, 24).repeat(3, axis=1)  # every picture by itself, in any number
    video[:, 1] = 255 - video[:, 1]
    codes = tokenizer.codes(video)
    assert codes.shape == (2, 3, 6, 6) and (codes[:, 0] == codes[:, 2]).all() and (codes[:, 0] != codes[:, 1]).any()
    np.testing.assert_array_equal(codes[:, :1], tokenizer.codes(video[:, :1]))
    assert tokenizer.reconstruct(video).shape == video.shape
    assert tokenizer.hash == VideoTokenizer.load(f"maskgit:{folder}/tokenizer_imagenet256_checkpoint").hash
    with pytest.raises(ValueError, match="is a file of one step; leave it at 'best'"):
        VideoTokenizer.load(f"maskgit:{folder}/tokenizer_imagenet256_checkpoint", step=3)


def test_generate_writes_pictures(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = f"maskgit:{folder}/maskgit_imagenet256_checkpoint"
    modes.generate(None, source, None, modes.Request(label="7", number=3, steps=2))
    made = tmp_path / "runs" / "maskgit_imagenet256_checkpoint" / "generated" / "CG-7-seed0"
    assert sorted(path.name for path in made.iterdir()) == [
        "7-000.png", "7-001.png", "7-002.png", "about.json", "codes.npz", "contact_sheet.png"]
    about = json.loads((made / "about.json").read_text())
    assert about["decoding"]["steps"] == 2 and about["decoding"]["choice_temperature"] == 4.5
    arrays = np.load(made / "codes.npz")
    assert arrays["codes"].shape == (3, 1, 16, 16) and (arrays["label"] == 7).all()
    shown = np.asarray(Image.open(made / "7-001.png"))
    tokenizer = VideoTokenizer.load(f"maskgit:{folder}/tokenizer_imagenet256_checkpoint")
    expected = np.round(255 * tokenizer.video(arrays["codes"][1:2])[0, 0])
    assert shown.shape == (64, 64, 3) and np.abs(shown - expected).max() <= 1
    for request, message in (
        (modes.Request(label="30"), "There is no class '30'; classes are numbers from 0 to 29 here"),
        (modes.Request(label="goose"), "There is no class 'goose'; classes are numbers"),
        (modes.Request(label="3", guidance=2.0), "no token for samples without a class, which guidance"),
        (modes.Request(label="3", index=0), "--index=0: this generator does not say which clips"),
    ):
        with pytest.raises(ValueError, match=message):
            modes.generate(None, source, None, request)


def test_a_folder_of_pictures_becomes_a_data_set_of_codes(folder, tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(3)
    for number in range(12):
        image = Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
        image.save(tmp_path / "pictures" / f"{number}.png")
    options = (("data.options.folder", str(tmp_path / "pictures")), ("data.options.height", "16"),
               ("data.options.width", "16"))
    config = modes.configured(f"{ROOT}/configs/vqvae2d_images.py:tiny", options)
    source = f"maskgit:{folder}/tokenizer_imagenet256_checkpoint"
    modes.tokenize(config, source, str(tmp_path / "data"))
    lines = [json.loads(line) for path in sorted(tmp_path.glob("data/codes/*/jsonl/*.jsonl"))
             for line in path.read_text().splitlines()]
    assert len(lines) == 12 and lines[0]["grid"] == [1, 4, 4]
    assert lines[0]["tokenizer"] == VideoTokenizer.load(source).hash


def test_a_3d_network_begins_as_the_tokenizer(tokenizer, folder):
    """Inflated at the centre, clips in which nothing moves become frame by frame what the pictures do."""
    fields = {**SMALL_TOKENIZER, "conv": "3d", "temporal_downsample": [True, False]}
    model = networks.TokenizerNetwork(**frozen(fields))
    random = random_leaves(tokenizer_shapes(model), seed=5)
    tree = unflatten_dict(random, sep="/")
    state = TrainState.create(params={"generator": tree}, opt={}, ema={"generator": tree})
    started = Start(f"maskgit:{folder}/tokenizer_imagenet256_checkpoint", "central")(state)
    still = pictures(2).repeat(4, axis=1) / np.float32(255)
    for params in (started.params["generator"], started.ema["generator"]):
        whole = jax.jit(lambda params, video: model.apply({"params": params}, video)[0])
        flat = jax.jit(lambda video: tokenizer.network.apply({"params": tokenizer.params}, video)[0])
        np.testing.assert_allclose(whole(params, still), flat(still), atol=1e-4)
    with pytest.raises(ValueError, match=r"encoder/Conv_0/kernel: \(3, 3, 3, 64\), expected \(3, 3, 3, 3, 64\)"):
        Start(f"maskgit:{folder}/tokenizer_imagenet256_checkpoint", "none")(state)


def test_every_leaf_of_the_inflated_config_is_taken_over(monkeypatch):
    monkeypatch.undo()
    options = (("data.options.folder", "DIR"),)
    config = modes.configured(f"{ROOT}/configs/vqvae_videos.py:from_maskgit", options).to_dict()
    assert config["init_from"] == {"workdir": "maskgit:tokenizer_imagenet256_checkpoint", "inflation": "central"}
    flat, deep = tree_of_tokenizer(maskgit.TOKENIZER), tree_of_tokenizer(config["tokenizer"])
    assert flat.keys() == deep.keys() and sum(map(np.prod, deep.values())) == 161_877_379
    for path, shape in deep.items():
        assert flat[path] == (shape[1:] if path.endswith("kernel") else shape)


def test_a_missing_file_is_named_with_its_size_and_what_is_known_of_its_licence(tmp_path):
    for load in (VideoTokenizer.load, VideoGenerator.load):
        with pytest.raises(FileNotFoundError) as refused:
            load(f"maskgit:{tmp_path}/tokenizer_imagenet256_checkpoint")
        for text in ("tokenizer_imagenet256_checkpoint (about 218 MB)", "maskgit_imagenet512_checkpoint (about 692 MB)",
                     "google-research/maskgit", "no licence of the weights is stated"):
            assert text in str(refused.value)
    for name, size in maskgit.FILES.items():
        total = 54_515_587 if "tokenizer" in name else 172_457_193 + 768 * 768 * ("512" in name)
        assert size == round(4 * total / 1e6)


def test_files_that_are_none_of_these_are_refused_by_name(folder, leaves, tmp_path):
    theirs, path = below("params", leaves[0]), tmp_path / "tokenizer"

    def refused(message, changed=None, data=None):
        if data is not None:
            path.write_bytes(data)
        else:
            write_msgpack(path, changed)
        with pytest.raises(ValueError, match=message):
            VideoTokenizer.load(f"maskgit:{path}")

    kernel = "params/encoder/ResBlock_1/Conv_0/kernel"
    without = {name: leaf for name, leaf in theirs.items() if name != kernel}
    refused(r"encoder/ResBlock_1/Conv_0/kernel: absent, expected \(3, 3, 64, 64\)", without)
    refused(r"ResBlock_1/Conv_0/kernel: \(3, 3, 64, 63\), expected", {**theirs, kernel: np.ones((3, 3, 64, 63))})
    refused(r"encoder/more/kernel: \(2,\), expected absent", {**theirs, "params/encoder/more/kernel": np.ones(2)})
    refused("holds opt_state/mu, and not all below 'params'", {**theirs, "opt_state/mu": np.ones(2)})
    refused("Conv_0/kernel: int32, expected floating-point", {**theirs, kernel: theirs[kernel].astype(np.int32)})
    bad = theirs[kernel].copy()
    bad[0, 0, 0, 0] = np.nan
    refused("Conv_0/kernel: holds numbers that are not finite", {**theirs, kernel: bad})
    whole = (folder / "tokenizer_imagenet256_checkpoint").read_bytes()
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        refused("is damaged, or no file of MaskGIT", data=whole[:cut])
    refused("is damaged, or no file of MaskGIT: .*extra", data=whole + b"\0")
    with pytest.raises(ValueError, match="holds a transformer, which is no tokenizer"):
        VideoTokenizer.load(f"maskgit:{folder}/maskgit_imagenet256_checkpoint")
    with pytest.raises(ValueError, match="holds no transformer"):
        VideoGenerator.load(f"maskgit:{folder}/tokenizer_imagenet256_checkpoint")
    with path.open("wb") as file:
        file.truncate(maskgit.LARGEST + 1)  # takes no space
    with pytest.raises(ValueError, match="bytes, more than any file of MaskGIT"):
        VideoTokenizer.load(f"maskgit:{path}")


def test_half_precision_and_larger_pictures_are_read(leaves, tmp_path):
    halves = below("params", {name: leaf.astype(np.float16) for name, leaf in leaves[0].items()})
    write_msgpack(tmp_path / "tokenizer_imagenet512_checkpoint", halves)
    write_msgpack(tmp_path / "maskgit_imagenet512_checkpoint",
                  below("params", random_leaves(tree_of_transformer(32))))
    generator = VideoGenerator.load(f"maskgit:{tmp_path}/maskgit_imagenet512_checkpoint")
    assert generator.generation.latent_shape == (1, 32, 32) and generator.generation.transformer.sequence_length == 1025
    assert {leaf.dtype for leaf in jax.tree.leaves(generator.tokenizer.params)} == {np.dtype(np.float32)}
    renamed = (tmp_path / "maskgit_imagenet512_checkpoint").rename(tmp_path / "mine")
    with pytest.raises(ValueError, match="does not say which tokenizer it goes with"):
        VideoGenerator.load(f"maskgit:{renamed}")
    own = VideoGenerator.load(f"maskgit:{renamed}", tokenizer=f"maskgit:{tmp_path}/tokenizer_imagenet512_checkpoint")
    assert own.tokenizer.hash == generator.tokenizer.hash


def test_files_are_written_for_other_machines_as_our_own_are(folder):
    made = {name: portable.parts_of(f"maskgit:{folder}/{name}_imagenet256_checkpoint", clip=clip)
            for name, clip in (("tokenizer", (1, 64, 64)), ("maskgit", None))}
    assert [part.name for part in made["tokenizer"]] == ["encode", "decode"]
    encode, _, step = made["maskgit"]
    assert encode.inputs == made["tokenizer"][0].inputs and step.facts["mask"] == 32 + CLASSES
    assert jax.eval_shape(step.plain, *step.inputs.values()).shape == (1, 256, 32)


def test_a_directory_of_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("maskgit:mine").mkdir()
    with pytest.raises(FileNotFoundError, match="There is no tokenizer 'maskgit:mine'"):
        VideoTokenizer.load("maskgit:mine")


@pytest.mark.slow
def test_files_of_the_true_sizes_give_the_numbers_of_independent_modules(tmp_path, monkeypatch):
    """218 and 690 MB of random weights, 4 GB of memory."""
    torch_maskgit = pytest.importorskip(TORCH, reason="needs torch", exc_type=ImportError)
    monkeypatch.undo()
    first = random_leaves(tree_of_tokenizer(maskgit.TOKENIZER))
    path = write_msgpack(tmp_path / "tokenizer_imagenet256_checkpoint", below("params", first))
    assert round(path.stat().st_size / 1e6) == maskgit.FILES[path.name]
    tokenizer = VideoTokenizer.load(f"maskgit:{path}")
    video = pictures(2, 64) / np.float32(255)
    expected_NhwD = torch_maskgit.latents(video[:, 0], first, 5).numpy()
    z = jax.jit(lambda x: tokenizer.network.apply({"params": tokenizer.params}, x, method="encode"))(video)
    np.testing.assert_allclose(z[:, 0], expected_NhwD, atol=1e-4)
    import torch

    codes = tokenizer.codes(video)
    made = torch_maskgit.pictures(torch.from_numpy(tokenizer.embed(codes)[:, 0]), first, 5).numpy()
    np.testing.assert_allclose(tokenizer.video(codes)[:, 0], made.clip(0, 1), atol=1e-4)
    second = random_leaves(tree_of_transformer(16, maskgit.TRANSFORMER, 2025))
    path = write_msgpack(tmp_path / "maskgit_imagenet256_checkpoint", below("params", second))
    assert round(path.stat().st_size / 1e6) == maskgit.FILES[path.name]
    generator = VideoGenerator.load(f"maskgit:{path}")
    tokens_BL = np.concatenate([[[1024 + 207]], np.full((1, 256), 2024)], axis=1).astype(np.int32)
    tokens_BL[0, 1:100] = np.arange(99)
    apply = jax.jit(lambda tokens: generator.generation.transformer.apply({"params": generator.params}, tokens))
    expected = torch_maskgit.logits(tokens_BL, second, layers=24, heads=16).numpy()
    assert expected.std() > 0.5
    np.testing.assert_allclose(apply(tokens_BL), expected, atol=1e-4)
