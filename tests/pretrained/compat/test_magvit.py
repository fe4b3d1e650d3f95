"""Official MAGVIT trees: every way in which they are stored, exact fields from the golden tree, and refusals."""

import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from flax.traverse_util import unflatten_dict

from tests.pretrained.compat.files import random_leaves, write_msgpack
from videogvt import VideoGenerator, VideoTokenizer
from videogvt.core.trees import frozen
from videogvt.nn import tokenizer as networks
from videogvt.nn.transformer import MaskedTransformer
from videogvt.pretrained.compat import foreign, magvit
from videogvt.pretrained.compat.trees import flat_arrays, tokenizer_shapes, transformer_shapes
from videogvt.pretrained.start import Start
from videogvt.train.state import TrainState

pytestmark = pytest.mark.optimized

GOLDEN = json.loads((pathlib.Path(__file__).parents[2] / "golden" / "param_tree.json").read_text())
SMALL = {
    "conv": "3d", "filters": 32, "padding": "zero", "norm_groups": 32, "channel_multipliers": [1, 2, 2],
    "temporal_downsample": [True, True], "encoder_blocks": 1, "decoder_blocks": 1,
    "quantizer": {"name": "vq", "num_codes": 1024, "embedding_dim": 8},
}


def tree_of(fields=SMALL):
    return tokenizer_shapes(networks.TokenizerNetwork(**frozen(fields)))


def below(name, leaves):
    return {f"{name}/{path}": leaf for path, leaf in leaves.items()}


@pytest.fixture(scope="module")
def parameters():
    return random_leaves(tree_of(), seed=1)


@pytest.fixture(scope="module")
def average():
    return random_leaves(tree_of(), seed=2)


@pytest.fixture(scope="module")
def state(parameters, average):
    """Leaves of a training state of the tokenizer by path."""
    judge = {"Conv_0/kernel": np.ones((3, 3, 3, 3, 4), np.float32), "Dense_1/bias": np.zeros(1, np.float32)}
    return {
        "global_step": np.int32(7), **below("g_params", parameters), **below("d_params", judge),
        **below("ema_params", average), **below("g_opt_state/0/mu", parameters), "rng": np.zeros(2, np.uint32),
        "metadata/lecam_ema_real": np.float32(0),
    }


def replicated(leaves, copies=2):
    return {path: np.repeat(np.asarray(leaf)[None], copies, axis=0) for path, leaf in leaves.items()}


def write_orbax(folder, leaves):
    """A folder as Orbax writes it now."""
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as writer:
        writer.save(folder, args=ocp.args.PyTreeSave(unflatten_dict(leaves, sep="/")))
    return folder


def write_old_orbax(folder, leaves):
    """As in 2023: a Zarr folder for each array, and their names in a msgpack file."""
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False)
    with ocp.Checkpointer(handler) as writer:
        writer.save(folder, args=ocp.args.PyTreeSave(unflatten_dict(leaves, sep="/")))
    for name in ("_METADATA", "_CHECKPOINT_METADATA", "commit_success.txt"):
        (folder / name).unlink(missing_ok=True)
    names = {path: f"PLACEHOLDER://{path.replace('/', '.')}" for path in leaves}
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(unflatten_dict(names, sep="/")))
    return folder


def loaded(path, weights="ema"):
    found = foreign(f"magvit:{path}").read("tokenizer", weights)
    return found.config, flat_arrays(found.params)


def check_equal(found, expected):
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_array_equal(found[path], leaf)


WRITERS = {"msgpack": write_msgpack, "orbax": write_orbax, "old orbax": write_old_orbax}


@pytest.mark.parametrize("copies", [0, 2], ids=["single", "replicated"])
@pytest.mark.parametrize("writer", WRITERS)
def test_states_are_read_however_they_are_stored(tmp_path, state, parameters, average, writer, copies):
    leaves = replicated(state, copies) if copies else state
    path = WRITERS[writer](tmp_path / "checkpoint_7", leaves)
    fields, params = loaded(path)
    assert fields == SMALL
    check_equal(params, average)
    check_equal(loaded(path, "params")[1], parameters)


def test_without_a_moving_average_the_parameters_are_taken(tmp_path, state, parameters):
    without = {path: leaf for path, leaf in state.items() if not path.startswith("ema_params")}
    for number, leaves in enumerate((
        without, below("params", parameters), parameters,
        {**below("g_optimizer/target", parameters), "g_optimizer/state/step": np.int32(3)},
        below("g_params/params", parameters),
    )):
        check_equal(loaded(write_msgpack(tmp_path / str(number), leaves))[1], parameters)


def test_fields_follow_from_the_official_tree():
    """Of the paper's B tokenizer all fields are its own, but for the padding, which is the released code's."""
    shapes = {path: tuple(shape) for path, shape in GOLDEN["generator"].items()}
    fields = magvit._tokenizer_fields(pathlib.Path("x"), shapes)
    model = networks.TokenizerNetwork(**frozen(fields))
    paper = networks.TokenizerNetwork(padding="zero")
    assert (model.pyramid, model.encoder_blocks, model.decoder_blocks, model.style) == (
        paper.pyramid.__class__(64, (1, 2, 2, 4), (True, True, False)), 2, 2, paper.style)
    assert (model.num_codes, tokenizer_shapes(model)) == (1024, shapes)


@pytest.mark.parametrize("fields", [
    {"filters": 128}, {"channel_multipliers": (1, 2, 4), "temporal_downsample": (True, True)}, {"conv": "2d"},
    {"filters": 128, "encoder_blocks": 4, "decoder_blocks": 4,
     "quantizer": {"name": "vq", "num_codes": 4096, "embedding_dim": 512}},
], ids=["L", "BAIR", "2D", "H"])
def test_fields_follow_from_trees_of_all_sizes(fields):
    model = networks.TokenizerNetwork(**frozen({**fields, "padding": "zero"}))
    shapes = tokenizer_shapes(model)
    found = networks.TokenizerNetwork(**frozen(magvit._tokenizer_fields(pathlib.Path("x"), shapes)))
    assert tokenizer_shapes(found) == shapes and found.strides == model.strides


def test_what_does_not_fit_is_listed_with_both_shapes(tmp_path, state, average):
    changed = {
        **{path: leaf for path, leaf in state.items() if path != "ema_params/decoder/Conv_3/bias"},
        "ema_params/encoder/ResBlock_2/Conv_0/kernel": np.ones((3, 3, 3, 64, 65)),
        "ema_params/decoder/attention/kernel": np.ones((4, 4)),
    }
    with pytest.raises(ValueError) as refused:
        loaded(write_msgpack(tmp_path / "checkpoint_1", changed))
    lines = str(refused.value).splitlines()
    assert "checkpoint_1 does not hold the parameters of MAGVIT's tokenizer. These do not fit:" in lines[0]
    assert lines[1:] == [
        "  decoder/Conv_3/bias: absent, expected (3,)",
        "  decoder/attention/kernel: (4, 4), expected absent",
        "  encoder/ResBlock_2/Conv_0/kernel: (3, 3, 3, 64, 65), expected (3, 3, 3, 64, 64)",
    ]


def test_a_run_starts_at_official_weights(tmp_path, state, parameters, average):
    path = write_msgpack(tmp_path / "checkpoint_7", state)
    judge = unflatten_dict({"Conv_0/kernel": np.zeros((3, 3, 3, 3, 4)), "Dense_1/bias": np.ones(1)}, sep="/")
    blank = unflatten_dict({name: np.zeros(leaf.shape, np.float32) for name, leaf in average.items()}, sep="/")
    empty = TrainState.create(params={"generator": blank, "discriminator": judge}, opt={}, ema={"generator": blank})
    started = Start(f"magvit:{path}", "none")(empty)
    check_equal(flat_arrays(started.params["generator"]), parameters)
    check_equal(flat_arrays(started.ema["generator"]), average)
    assert (started.params["discriminator"]["Conv_0"]["kernel"] == 1).all()
    other = {**flat_arrays(blank), "quantizer/codebook": np.zeros((512, 8)), "stem/bias": np.zeros(3)}
    state = TrainState.create(params={"generator": unflatten_dict(other, sep="/")}, opt={})
    with pytest.raises(ValueError) as refused:
        Start(f"magvit:{path}", "none")(state)
    assert "is another network: 2 parameters differ" in str(refused.value)
    assert str(refused.value).splitlines()[1:] == [
        "  quantizer/codebook: (1024, 8), expected (512, 8)", "  stem/bias: absent, expected (3,)"]
    with pytest.raises(ValueError, match="step is 4, and magvit:.* is a file of one step"):
        Start(f"magvit:{path}", "none", step=4)(state)


def test_it_serves_as_our_own_do(tmp_path, state):
    path = write_msgpack(tmp_path / "checkpoint_7", state)
    with pytest.raises(ValueError, match="Parameters 'mean'; expected 'ema' or 'params'"):
        VideoTokenizer.load(f"magvit:{path}", weights="mean")
    tokenizer = VideoTokenizer.load(f"magvit:{path}")
    video = np.random.default_rng(0).integers(0, 256, (1, 4, 8, 8, 3), dtype=np.uint8)
    codes = tokenizer.codes(video)
    assert tokenizer.strides == (4, 4, 4) and codes.shape == (1, 1, 2, 2)
    assert tokenizer.video(codes).shape == video.shape
    assert VideoTokenizer.load(f"magvit:{path}", weights="params").hash != tokenizer.hash


@pytest.mark.parametrize("words, places, tasks, classes", [
    (1127, 1025, ("CG",), 101), (1026, 1025, ("FP",), 0), (1041, 1026, magvit.MAGVIT_TASKS, 0),
    (1215, 1026, (*magvit.MAGVIT_TASKS, "CG", "CFP"), 174),
], ids=["UCF-101", "BAIR", "BAIR, eight tasks", "SSv2, ten tasks"])
def test_transformers_are_for_the_tasks_of_their_vocabulary(tmp_path, state, words, places, tasks, classes):
    """Sizes of the vocabularies of MAGVIT's four data sets."""
    model = MaskedTransformer(vocab_size=words, sequence_length=places, layers=1, hidden=16, heads=2, mlp=8)
    leaves = random_leaves(transformer_shapes(model))
    theirs = write_msgpack(tmp_path / "checkpoint_9", {
        **replicated(below("params", leaves)), **replicated(below("opt_state/0/mu", leaves))})
    first = write_msgpack(tmp_path / "tokenizer", state)
    generator = VideoGenerator.load(f"magvit:{theirs}", tokenizer=f"magvit:{first}")
    assert generator.tasks == tasks and len(generator.class_names) == classes
    assert generator.generation.video_shape == (16, 64, 64) and generator.generation.transformer.heads == 2
    assert generator.generation.transformer.vocab_size == words
    check_equal(flat_arrays(jax.device_get(generator.params)), leaves)
    with pytest.raises(ValueError, match="does not say which tokenizer it goes with"):
        VideoGenerator.load(f"magvit:{theirs}")
    with pytest.raises(ValueError, match="holds a transformer, which is no tokenizer"):
        VideoTokenizer.load(f"magvit:{theirs}")
    with pytest.raises(ValueError, match="speaks of 1024 codes, and VideoTokenizer.* has 64"):
        fewer = {path: leaf[:64] if path.endswith("codebook") else leaf for path, leaf in state.items()}
        other = write_msgpack(tmp_path / "of_64_codes", fewer)
        VideoGenerator.load(f"magvit:{theirs}", tokenizer=f"magvit:{other}")
    with pytest.raises(ValueError, match="holds no transformer"):
        VideoGenerator.load(f"magvit:{first}")


def test_wrong_files_and_folders_are_refused_by_name(tmp_path, state, parameters):
    def refused(message, path, error=ValueError):
        with pytest.raises(error, match=message):
            loaded(path)

    refused("There is no checkpoint .*its authors have released none", tmp_path / "nothing", FileNotFoundError)
    (tmp_path / "run" / "checkpoint_3").mkdir(parents=True)
    refused("is a folder and no Orbax checkpoint.* there is checkpoint_3", tmp_path / "run")
    more = {**state, "extra_params/kernel": np.ones(3)}
    refused("holds extra_params/kernel; the fields of MAGVIT's states", write_msgpack(tmp_path / "more", more))
    refused("holds extra_params/kernel; the fields", write_orbax(tmp_path / "more_orbax", more))
    refused("holds no parameters: expected ema_params, g_params", write_msgpack(tmp_path / "few", {"global_step": 1}))
    refused("encoder/Conv_0/kernel is absent, expected 4 or 5 axes", write_msgpack(tmp_path / "other", below(
        "params", {"quantizer/codebook": np.ones((4, 4)), "net/kernel": np.ones((2, 2))})))
    differ = replicated(state)
    differ["ema_params/encoder/GroupNorm_0/bias"][1] += 1
    refused("2 copies of each array, one a device, and those of encoder/GroupNorm_0/bias differ",
            write_msgpack(tmp_path / "differ", differ))
    bad = {**state, "ema_params/decoder/Conv_3/bias": np.full(3, np.inf, np.float32)}
    refused("decoder/Conv_3/bias: holds numbers that are not finite", write_msgpack(tmp_path / "bad", bad))
    data = (tmp_path / "bad").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    refused("cut is damaged, or no checkpoint of MAGVIT's", tmp_path / "cut")
    giant = {**parameters, **{f"decoder/Conv_{number}/kernel": np.ones((1, 1, 1, 1, 0)) for number in range(400)}}
    refused("do not divide into 9 levels", write_msgpack(tmp_path / "giant", giant))
    empty = {**parameters, "quantizer/codebook": np.ones((10**15, 0), np.float32)}
    refused(r"codebook is \(1000000000000000, 0\), expected 2 axes, none empty",
            write_msgpack(tmp_path / "empty", empty))


def test_damaged_folders_are_refused(tmp_path, state):
    small = {"params/encoder/kernel": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)}
    for number, (name, text) in enumerate([
        ("_METADATA", "{"), ("_METADATA", "{}"), ("manifest.ocdbt", "x"), ("_METADATA", None),
    ]):
        folder = write_orbax(tmp_path / str(number), small)
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(text)
        with pytest.raises(ValueError, match="is damaged, or no checkpoint|is a folder and no Orbax checkpoint"):
            loaded(folder)
    folder = write_old_orbax(tmp_path / "zarr", small)
    header = folder / "params.encoder.kernel" / ".zarray"
    claimed = {**json.loads(header.read_text()), "shape": [2**20, 2**20]}
    header.write_text(json.dumps(claimed))
    with pytest.raises(ValueError, match="its arrays claim 4,398,046,511,104 bytes, and all its files have"):
        loaded(folder)
