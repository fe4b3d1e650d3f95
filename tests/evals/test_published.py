"""FVD and Inception Score in the evaluation of generators: what is measured, on which clips, and what is refused."""

import functools
import gc
import json
import weakref

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.evals import bank
from tests.evals.test_generation import make_eval, vars_of
from tests.evals.test_generators import FNS, opened
from tests.evals.test_prediction import table
from videogvt.evals import fvd
from videogvt.evals.fvd import VideoNetwork
from videogvt.evals.generation import GenerationEval
from videogvt.evals.generators import evaluators_of
from videogvt.evals.published import EvaluationClassifier, Published
from videogvt.inputs.sources import ArraySource
from videogvt.jobs.judges import load_judge
from videogvt.nn.c3d import C3D
from videogvt.nn.i3d import require_frames
from videogvt.ops.quality import frechet_between
from videogvt.train import journal
from videogvt.train.contracts import Media

PLAIN = ("fps", "pixel_position", "radius_px")
FOLD, FOLDS = 40, 3  # of 100 training clips: more than one pass
ALIVE: list[weakref.ref] = []


def darkness(params, video_BTHWC):
    """Logits that say where a clip is dark, (B, 8)."""
    dark = (1.0 - video_BTHWC.min(-1))
    return params * dark.reshape(len(dark), 2, 4, 2, 16, 2, 16).mean((2, 4, 6)).reshape(len(dark), -1)


def network() -> VideoNetwork:
    made = VideoNetwork(darkness, np.float32(10), lambda frames: None, {"network": "darkness", "sha256": "0" * 64})
    ALIVE.append(weakref.ref(made))
    return made


def alive() -> int:
    gc.collect()
    return sum(reference() is not None for reference in ALIVE)


def published(**counts) -> Published:
    return Published({"i3d": network, "c3d": network}, **{"fold_clips": FOLD, "folds": FOLDS} | counts)


@functools.cache
def plain() -> dict[str, ArraySource]:
    """Without the fields that have clips tracked, which takes longer than what is tested here."""
    return {part: bank.source(split, 100, PLAIN) for part, split in (("source", "test"), ("train", "train"))}


def make(generate=bank.real, **options) -> GenerationEval:
    options = {"published": published()} | options
    return GenerationEval(**vars_of(make_eval(generate)) | plain() | options)


def run(generate, **options):
    evaluator = make(generate, **options)
    return evaluator, {name: value for name, value in evaluator.run(bank.make_state()) if not isinstance(value, Media)}


@pytest.fixture(scope="module")
def real():
    return run(bank.real)


def test_figures_stand_beside_those_of_real_clips(real):
    evaluator, numbers = real
    for name in ("fvd", "inception_score"):
        assert numbers[f"{name}_std"] >= 0 and numbers[f"{name}_clips"] == numbers[f"real/{name}_clips"] == FOLD
    assert 0 < numbers["real/fvd"] < 0.5 * run(bank.white)[1]["fvd"]
    assert 1 < numbers["real/inception_score"] <= 8
    assert numbers["fvd"] < 3 * numbers["real/fvd"]
    facts = evaluator.facts["published"]
    assert facts["i3d"]["network"] == "darkness" and (facts["folds"], facts["fold_clips"]) == (FOLDS, FOLD)


def test_the_figures_by_hand(real):
    """Real clips in passes over the training split; generated ones of their classes, each from its own key."""
    evaluator, numbers = real
    order = evaluator.published.order(100, 0)
    assert len(order) == FOLD * FOLDS and sorted(order[:100]) == list(range(100))
    clips = bank.clips("train", 100)
    real_ND = network()(clips["video"])[order]
    place = np.arange(len(order))
    made = bank.real(bank.make_state(), *evaluator.inputs(place, clips["label"][order]))["video"]
    made_ND = network()(np.asarray(made, np.float32))
    folds = [frechet_between(real_ND[at:at + FOLD], made_ND[at:at + FOLD]) for at in range(0, len(order), FOLD)]
    assert numbers["fvd"] == pytest.approx(np.mean(folds), rel=1e-4)
    assert numbers["fvd_std"] == pytest.approx(np.std(folds), rel=1e-3)
    for row, logits in (("", made_ND), ("real/", real_ND)):
        score = fvd.inception_score(logits, folds=FOLDS)
        assert numbers[f"{row}inception_score"] == pytest.approx(score.mean, rel=1e-5)
        assert numbers[f"{row}inception_score_std"] == pytest.approx(score.std, rel=1e-3)


def test_the_floor_is_between_clips_that_differ(real):
    """A fold that needs more than half of the real clips makes do with half."""
    pool = {"i3d": np.arange(20.0)[:, None] ** 2, "c3d": np.zeros((20, 2))}
    settings = Published({"i3d": network}, fold_clips=15, folds=2)
    made = {"i3d": np.zeros((30, 1))}
    numbers = dict(settings.figures(made, {"i3d": np.ones((30, 1))}, pool, seed=0))
    assert numbers["real/fvd_clips"] == 10 and numbers["fvd_clips"] == 15 and numbers["fvd"] == 1.0
    assert numbers["real/fvd"] > 0 and "inception_score" not in numbers


def test_networks_live_while_they_measure(real):
    assert alive() == 0
    evaluator = make(published=published(fold_clips=2, folds=2), judge=bank.judge())
    assert alive() == 0  # checked, and let go
    numbers = dict(evaluator.run(bank.make_state()))
    assert {"fvd", "judge_agreement", "frechet_traj"} <= set(numbers) and alive() == 0
    assert evaluator.asking(bank.white).published is None


def test_no_weights_nothing_is_loaded(monkeypatch):
    monkeypatch.setattr(fvd, "load_i3d", None)
    monkeypatch.setattr(fvd, "load_c3d", None)
    assert Published.of(fold_clips=3) is None
    assert make(published=None, judge=bank.judge()).facts["published"] is None


def test_batches_do_not_matter():
    settings = published(fold_clips=6, folds=2)
    numbers = [run(bank.real, batch_size=size, published=settings)[1] for size in (5, 16)]
    for name in ("fvd", "real/fvd", "inception_score", "real/inception_score"):
        assert numbers[0][name] == pytest.approx(numbers[1][name], rel=1e-4), name


def test_clips_without_objects_and_judge_have_published_figures_alone():
    made = evaluators_of(FNS, table(("CG",)), opened(PLAIN), seed=0, weights="ema", batch_size=8, watch=False,
                         published=published(fold_clips=4, folds=1))
    results = dict(made["generation"].run(bank.make_state()))
    assert {name for name, value in results.items() if not isinstance(value, Media)} == {
        f"{row}{name}{end}" for row in ("", "real/") for name in ("fvd", "inception_score")
        for end in ("", "_std", "_clips")}
    assert isinstance(results["samples"], Media) and made["generation"].clips == 20


def test_generators_that_do_not_generate_by_class_are_refused():
    with pytest.raises(ValueError, match="found the tasks FP:3 and 5 classes.*Set i3d and c3d to None"):
        evaluators_of(FNS, table(("FP:3",)), opened(), seed=0, weights="ema", batch_size=8, published=published())


def test_too_few_frames_are_refused_before_anything_runs():
    short = Published({"i3d": lambda: VideoNetwork(darkness, 1.0, require_frames, {})})
    with pytest.raises(ValueError, match="at least 9 frames, found 8"):
        make(published=short)
    with pytest.raises(ValueError, match="fold_clips=1 and folds=4.*the paper: 10,000 and 4"):
        published(fold_clips=1, folds=4)


def test_missing_and_wrong_files_are_refused(tmp_path):
    wrong = str(tmp_path / "wrong.safetensors")
    save_file({"conv1.weight": np.zeros((2, 3), np.float32)}, wrong)
    for name, remedy in (("i3d", "rgb_imagenet.pt"), ("c3d", "conv3d_deepnetA_ucf.npz")):
        with pytest.raises(FileNotFoundError, match=f"generation.{name}: The weights 'nowhere.pt' do not.*{remedy}"):
            make(published=Published.of(**{name: "nowhere.pt"}))
        with pytest.raises(ValueError, match=rf"generation.{name}: .*missing, expected .*1 are unknown.*{remedy}"):
            make(published=Published.of(**{name: wrong}))
    for file in ("damaged.safetensors", "damaged.npz"):
        (tmp_path / file).write_bytes(b"PK no archive")
        with pytest.raises(ValueError, match="is damaged"):
            make(published=Published.of(c3d=str(tmp_path / file)))


def test_a_file_s_network_scores_clips(tmp_path):
    """A small C3D on a file of its own, as the published pair of files has it."""
    model = C3D(num_classes=5, widths=(4,) * 8, hidden=4, frame_size=32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 16, 32, 32, 3), np.float32))["params"]
    rng, arrays = np.random.default_rng(0), {"offset": np.full((3, 16, 32, 32), -90, np.float32)}
    for layer, leaves in shapes.items():
        if layer != "offset":
            kernel = leaves["kernel"].shape
            arrays[f"{layer}/W"] = rng.normal(size=(*kernel[:-3:-1], *kernel[:-2])).astype(np.float32) / 3
            arrays[f"{layer}/b"] = np.full(leaves["bias"].shape, 0.5, np.float32)
    path = str(tmp_path / "c3d.npz")
    np.savez(path, **arrays)
    settings = Published({"c3d": functools.partial(fvd.c3d, path, model=model)}, fold_clips=2, folds=2)
    assert settings.check(16, 100)["c3d"]["network"] == "C3D, UCF-101"
    with pytest.raises(ValueError, match="needs clips of 16 frames, found 8"):
        settings.check(8, 100)
    logits = settings.measuring()(rng.integers(0, 256, (4, 16, 8, 8, 3), np.uint8))
    assert logits["c3d"].shape == (4, 5) and logits["c3d"].std() > 0
    numbers = dict(settings.figures(logits, logits, logits, seed=0))
    assert 1 <= numbers["inception_score"] == numbers["real/inception_score"] <= 5


def finished(workdir, recipe="classifier", names=("a", "b"), network="judge"):
    journal.claim_workdir(workdir, {"recipe": recipe, "classifier": {"network": network}})
    journal.write_eval(workdir, {"eval/test/accuracy": 1.0}, {"evaluators": {"test": {"class_names": list(names)}}})


def test_columns_name_the_largest_logit():
    def forward(params, video):
        return video.sum((1, 2, 3))[:, :2] * params, video.mean((1, 2))[:, 0]

    judge = EvaluationClassifier("sum", forward, np.array([1.0, 2.0]))
    columns = judge.columns(np.full((3, 2, 4, 4, 3), 255, np.uint8))
    assert columns["judged"].tolist() == [1, 1, 1] and columns["features"].shape == (3, 3)
    np.testing.assert_allclose(columns["features"], 1.0)


def test_the_bank_knows_its_own_clips():
    clips = bank.clips("validation", 60)
    assert (bank.judge().columns(clips["video"])["judged"] == clips["label"]).all()


def test_what_is_no_judge_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_judge(tmp_path / "none", ("a", "b"))
    (tmp_path / "going").mkdir()
    (tmp_path / "going" / "config.json").write_text(json.dumps({}))
    with pytest.raises(FileNotFoundError, match="not finished"):
        load_judge(tmp_path / "going", ("a", "b"))
    finished(tmp_path / "tokenizer", "tokenizer")
    with pytest.raises(ValueError, match="holds a tokenizer"):
        load_judge(tmp_path / "tokenizer", ("a", "b"))
    finished(tmp_path / "probe", network="linear_probe")
    with pytest.raises(ValueError, match="holds a linear_probe; expected a judge"):
        load_judge(tmp_path / "probe", ("a", "b"))
    finished(tmp_path / "other")
    with pytest.raises(ValueError, match="names the classes a, b; those of the clips are b, a"):
        load_judge(tmp_path / "other", ("b", "a"))
