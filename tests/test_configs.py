"""Every shipped config: each variant builds and steps in the abstract, and every "tiny" one goes all the way."""

import importlib.util
import pathlib
import re

import jax
import numpy as np
import pytest
from PIL import Image

from videogvt import VideoTokenizer, jobs, modes
from videogvt.inputs.sources import open_source
from videogvt.jobs import experiment, judges
from videogvt.jobs.judges import Perceptual
from videogvt.nn.classifiers import make_classifier
from videogvt.train import journal
from videogvt.train.parallel import global_shapes, numeric
from videogvt.train.program import Program
from videogvt.world.digits import DIGIT_SPECS
from videogvt.world.spec import SPECS

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def module(name):
    spec = importlib.util.spec_from_file_location(f"config_{name}", CONFIGS / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def variants(name):
    """The variants that a config's own error message lists."""
    with pytest.raises(ValueError, match="it has ") as refused:
        module(name).get_config("no such variant")
    return re.search(r"it has (.*)\.$", str(refused.value)).group(1).split(", ")


LARGE = ("L", "L64", "released_L")  # they differ from B in numbers only
TOKENIZERS = [
    pytest.param(path.stem, variant, marks=[pytest.mark.slow] if variant in LARGE else [])
    for path in sorted(CONFIGS.glob("vqvae*.py")) for variant in variants(path.stem)
]
PARAMETERS = {  # of MAGVIT's tables, where the config is the paper's
    ("vqvae_ucf101", "B"): 40_579_843, ("vqvae_ucf101", "L"): 157_811_971, ("vqvae_bair", "B"): 36_596_355,
    ("vqvae_bair", "L"): 141_882_371, ("vqvae2d_images", "B"): 13_809_667, ("vqvae_traj", "B"): 40_579_843,
    ("vqvae_videos", "B"): 40_579_843,
}


class BlackClips:
    """Clips of the shape that a config's data would have; they take no memory."""

    class_names, split_hash = ("one",), ""
    splits, available = ("train", "validation", "test"), ("video", "label", "id")

    def __init__(self, name, split, *, fields=("video", "label"), data_dir=None, **options):
        spec = {"trajectories": SPECS, "digits": DIGIT_SPECS}[name][options["config"]] if "config" in options else None
        frames = 1 if name == "images" else spec.num_frames if spec else options["num_frames"]
        self.shape = (frames, *((spec.height, spec.width) if spec else (options["height"], options["width"])), 3)
        self.fields = fields

    def __len__(self):
        return 512

    def read(self, indices):
        video = np.broadcast_to(np.uint8(0), (len(indices), *self.shape))
        columns = {"video": video, "label": np.zeros(len(indices), np.int32), "id": np.full(len(indices), "black")}
        return {name: columns[name] for name in self.fields}


def untrained_judge(network, **options):
    """In the place of the trained one, for configs whose perceptual loss is on."""
    model = make_classifier({"network": network}, num_classes=5)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 16, 64, 64, 3), np.float32))["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return Perceptual(lambda params, video: model.apply({"params": params}, video), params)


@pytest.mark.parametrize("name, variant", TOKENIZERS)
def test_every_variant_builds_and_steps_in_the_abstract(name, variant, monkeypatch, tmp_path):
    config = module(name).get_config(variant)
    assert config.name.startswith(name) and (variant in config.name or "-" not in config.name)
    monkeypatch.setattr(experiment, "open_source", BlackClips)
    monkeypatch.setattr(judges, "load_perceptual", untrained_judge)
    built = jobs.build(config, tmp_path)
    recipe, batch = built.recipe, built.data.first_batch
    state = Program(recipe, built.plan, batch).abstract
    after, numbers = jax.eval_shape(recipe.step, state, global_shapes(numeric(batch)), jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(state) and numbers
    if (name, variant) in PARAMETERS:
        assert sum(leaf.size for leaf in jax.tree.leaves(state.params["generator"])) == PARAMETERS[name, variant]
    assert set(built.evaluators) == {"validation", "test", "modelability"}
    assert built.plan.grows and built.plan.learning_rate(0, built.plan.total_steps) == 0  # the warm-up begins there
    video = built.evaluators["test"].source.read([0])["video"]
    codes = jax.eval_shape(recipe.predict_fns["codes"], state, video)
    assert codes.shape == (1, *recipe.model.latent_shape(video.shape[1:4]))
    modelability = built.evaluators["modelability"]
    assert modelability.split == "test"
    vectors = jax.eval_shape(recipe.predict_fns["embed"], state, codes)
    assert vectors.shape[:4] == codes.shape and modelability.num_codes == recipe.model.num_codes


def test_the_causal_baseline_has_the_data_size_and_steps_of_the_masked_transformer():
    masked, causal = (module(name).get_config() for name in ("maskgvt_traj", "lmgvt_traj"))
    assert (masked.data, masked.tokenizer, masked.train.steps) == (causal.data, causal.tokenizer, causal.train.steps)
    for field in ("layers", "hidden", "heads", "mlp"):
        assert masked.transformer[field] == causal.lm[field], field


def test_init_from_and_misspelt_keys_reach_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "open_source", BlackClips)
    config = module("vqvae_videos").get_config("tiny")
    config.init_from.workdir = "runs/other"
    assert jobs.build(config, tmp_path).recipe.start.workdir == "runs/other"
    config.init_from.inflation = "centre"
    with pytest.raises(ValueError, match="Did you mean 'central'"):
        jobs.build(config, tmp_path)
    config = module("vqvae_bair").get_config()
    config.evals.transforms.temporal_window.frames = 16
    with pytest.raises(ValueError, match="config.evals.transforms.temporal_window 'frames'.*'num_frames'"):
        jobs.build(config, tmp_path)


def test_codes_are_judged_on_validation_where_test_is_not_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "open_source", BlackClips)
    config = module("vqvae_traj").get_config("tiny")
    config.evals.splits = ()
    built = jobs.build(config, tmp_path)
    assert set(built.evaluators) == {"validation", "modelability"}
    assert built.evaluators["modelability"].split == "validation"


@pytest.mark.parametrize("name", ["vqvae_videos", "vqvae2d_images"])
def test_a_folder_must_be_named(name, tmp_path):
    with pytest.raises(ValueError, match="No folder was named.*--config.data.options.folder=DIR"):
        jobs.build(module(name).get_config(), tmp_path)


def pictures(folder):
    """Thirty moving gradients as GIFs and thirty still ones as PNGs, in folders of their own."""
    rows, columns = np.mgrid[:40, :40]
    for index in range(30):
        frames = [np.stack([6 * rows, 6 * columns, 0 * rows + 8 * (index + time)], -1) for time in range(8)]
        frames = [Image.fromarray(frame.astype(np.uint8)) for frame in frames]
        for kind in ("videos", "images"):
            (folder / kind).mkdir(exist_ok=True)
        frames[0].save(folder / "images" / f"{index}.png")
        frames[0].save(folder / "videos" / f"{index}.gif", save_all=True, append_images=frames[1:], duration=40)
    return folder


@pytest.mark.parametrize("name", ["vqvae_traj", "vqvae_digits", "vqvae_videos", "vqvae2d_images"])
def test_tiny_variants_train_evaluate_report_and_tokenize(name, tmp_path, capsys):
    config = module(name).get_config("tiny")
    if "folder" in config.data.options:
        config.data.options.folder = str(pictures(tmp_path) / config.data.source)
    workdir, data_dir = tmp_path / "run", tmp_path / "data"
    modes.train(config, workdir, data_dir)
    numbers = journal.read_eval(workdir)
    assert numbers["about"]["step"] in (1, 2) and set(numbers["about"]["evaluators"]) >= {"validation", "test"}
    for figure in ("psnr", "ssim", "codes_used", "mean_frame/psnr", "untrained/psnr", "nearest_clip/psnr"):
        assert np.isfinite(numbers[f"eval/test/{figure}"])
    for figure in ("speaking_per_clip", "duplicates", "usage_speaking", "noise_changed_empty"):
        assert numbers[f"eval/modelability/{figure}"] >= 0
    assert "Can the codes be modelled? (test)" in (workdir / "report.html").read_text()
    capsys.readouterr()
    modes.tokenize(config, workdir, data_dir)
    folder, *lines = map(pathlib.Path, capsys.readouterr().out.split())
    assert [line.name for line in lines] == ["train.jsonl", "validation.jsonl", "test.jsonl", "ood.jsonl"][:len(lines)]
    tokenizer = VideoTokenizer.load(workdir)
    video = open_source(config.data.source, "test", data_dir=data_dir, **config.data.options).read([0])["video"]
    codes = open_source("imported", "test", path=folder, fields=("codes",)).read([0])["codes"]
    np.testing.assert_array_equal(tokenizer.codes(video), codes)
    np.testing.assert_array_equal(tokenizer.video(codes), tokenizer.reconstruct(video))


@pytest.mark.parametrize("minutes, text", [
    (0.2, "0 minutes"), (119.0, "119 minutes"), (121.0, "2 hours"), (47 * 60, "47 hours"), (2_621_807, "1,821 days"),
])
def test_what_a_run_takes_is_told_in_a_unit_that_one_can_grasp(minutes, text):
    assert experiment._duration(minutes) == text
