"""Generators that are known exactly, and broken ones: every figure lands where it should."""

import io
import types

import jax.numpy as jnp
import numpy as np
import pytest

from tests.evals import bank
from videogvt.evals.generation import GenerationEval, decoding_trajectory
from videogvt.train.contracts import Evaluator, Media, When

PER_CLASS = 12


def make_eval(generate=bank.real, **options) -> GenerationEval:
    settings = {"samples": 0, "per_class": PER_CLASS, "batch_size": 16} | options
    return GenerationEval(
        source=bank.source("test", 100), train=bank.source("train", 100), split="test", seed=0, weights="ema",
        generate=generate, when=When(end=True), **settings)


def run(generate, state=None, **options) -> tuple[dict[str, float], dict[str, dict]]:
    results = dict(make_eval(generate, **options).run(state or bank.make_state()))
    media = {name: dict(np.load(io.BytesIO(value.data))) for name, value in results.items()
             if isinstance(value, Media)}
    return {name: value for name, value in results.items() if name not in media}, media


def same(state, video_BTHWC):
    return video_BTHWC, None


@pytest.fixture(scope="module")
def perfect():
    return run(bank.real, reconstruct=same, judge=bank.judge(), samples=2)


def test_real_clips_look_real(perfect):
    numbers, _ = perfect
    assert isinstance(make_eval(), Evaluator)
    assert numbers["clips"] == 60 and numbers["real/clips"] == 50
    assert numbers["one_object_share"] == numbers["object_found_share"] == 1.0
    assert numbers["oracle_agreement"] >= 0.9 and numbers["judge_agreement"] == 1.0
    assert numbers["speed_plausible"] >= 0.8 and numbers["radius_plausible"] >= 0.8
    assert numbers["fit_residual_px"] < 0.4
    for figure in ("spread_vs_real", "shape_spread_vs_real", "memory_vs_real", "jerk_vs_real"):
        assert 0.7 < numbers[figure] < 1.4, figure


def test_rows_beside_say_what_is_good_and_what_is_bad(perfect):
    numbers, _ = perfect
    for figure in ("one_object_share", "oracle_agreement", "judge_agreement", "spread_px", "nearest_train_px"):
        assert numbers[f"reconstructed/{figure}"] == numbers[f"real/{figure}"]
    assert numbers["real/spread_vs_real"] == numbers["real/memory_vs_real"] == numbers["real/jerk_vs_real"] == 1.0
    assert numbers["shuffled/oracle_agreement"] < 0.45 and numbers["shuffled/judge_agreement"] < 0.45  # 1 in 5
    assert numbers["copied/nearest_train_px"] < 1e-3 and numbers["copied/memory_vs_real"] < 1e-2
    assert numbers["mean_track/spread_px"] == numbers["mean_track/spread_vs_real"] == 0.0
    assert numbers["mean_track/speed_plausible"] < 0.5


def test_frechet_distance_stands_beside_its_floor(perfect):
    numbers, _ = perfect
    assert numbers["frechet_clips"] == numbers["real/frechet_clips"] == 50
    assert numbers["reconstructed/frechet_traj"] == pytest.approx(numbers["real/frechet_traj"], rel=1e-5)
    assert 0 < numbers["frechet_traj"] < 2 * numbers["real/frechet_traj"]


def test_figures_by_class(perfect):
    numbers, _ = perfect
    of_class = [numbers[f"by_class/{name}/oracle_agreement"] for name in bank.FAMILIES]
    assert np.mean(of_class) == pytest.approx(numbers["oracle_agreement"])
    assert min(of_class) == numbers["oracle_agreement_min"]
    assert sum(numbers[f"by_class/{name}/clips"] for name in bank.FAMILIES) == 60
    assert all(f"real/by_class/{name}/spread_vs_real" in numbers for name in bank.FAMILIES)


def test_files(perfect):
    _, media = perfect
    counts = media["confusion_oracle"]["counts_KK"]
    assert counts.shape == (5, 6) and counts.sum() == 60 and (counts.sum(1) == PER_CLASS).all()
    assert media["confusion_judge"]["counts_KK"].trace() == 60
    samples = media["samples"]
    assert samples["video"].shape == (10, 8, 32, 32, 3) and samples["video"].dtype == np.uint8
    assert samples["label"].tolist() == [0, 1, 2, 3, 4] * 2 and len(samples["real"]) == 10
    assert media["table"]["track"].shape == (60, 8, 2) and "features" not in media["table"]


def test_a_white_clip_shows_nothing():
    numbers, _ = run(bank.white, judge=bank.judge())
    for figure in ("one_object_share", "object_found_share", "oracle_agreement", "speed_plausible", "radius_plausible",
                   "spread_px", "spread_vs_real", "shape_spread_vs_real", "spread_vs_real_min"):
        assert numbers[figure] == 0.0, figure
    assert numbers["fit_residual_px"] == pytest.approx(np.hypot(32, 32) / 2)
    assert numbers["judge_agreement"] == pytest.approx(0.2)  # it names one class for all
    assert numbers["frechet_traj"] > 1.5 * numbers["real/frechet_traj"]
    assert not {"nearest_train_px", "memory_vs_real", "jerk_vs_real", "jerk_px"} & set(numbers)


def test_wrong_classes_are_seen_by_both_judges_and_by_the_fit():
    numbers, _ = run(bank.mislabelled, judge=bank.judge())
    assert numbers["judge_agreement"] == 0.0 and numbers["oracle_agreement"] < 0.15
    assert numbers["fit_residual_px"] > 2 * numbers["real/fit_residual_px"]
    assert numbers["one_object_share"] == 1.0  # they are real clips


def test_a_clip_learnt_by_heart_has_no_spread_and_no_distance_to_training():
    numbers, _ = run(bank.by_heart, bank.make_state("train", 60))
    assert numbers["spread_px"] == numbers["spread_vs_real"] == 0.0
    assert numbers["memory_vs_real"] < 0.1 and numbers["nearest_train_px"] < 0.2
    assert numbers["one_object_share"] == 1.0 and numbers["oracle_agreement"] == pytest.approx(0.2)


def test_two_objects_are_not_one():
    numbers, _ = run(bank.doubled)
    assert numbers["one_object_share"] == 0.0 and numbers["object_found_share"] < 0.3
    assert numbers["oracle_agreement"] < 0.3


def test_a_trembling_object_is_rough():
    numbers, _ = run(bank.trembling)
    assert numbers["jerk_vs_real"] > 3 and numbers["acceleration_vs_real"] > 2
    assert numbers["fit_residual_px"] > 3 * numbers["real/fit_residual_px"]


def test_batch_size_does_not_matter():
    state = bank.make_state()
    whole, parts = make_eval(per_class=3, batch_size=15), make_eval(per_class=3, batch_size=4)
    parts = dict(parts.run(state))
    for name, value in whole.run(state):
        if not isinstance(value, Media):
            assert parts[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_limit_and_facts():
    evaluator = make_eval(limit=7)
    assert evaluator.clips == evaluator.facts["clips"] == 7
    assert evaluator.facts["class_names"] == list(bank.FAMILIES) and evaluator.facts["judge"] is None
    numbers = {name for name, value in evaluator.run(bank.make_state()) if not isinstance(value, Media)}
    assert "frechet_traj" not in numbers and "judge_agreement" not in numbers and "oracle_agreement" in numbers


def test_figures_of_several_seeds_are_means_with_their_range():
    state, seeds = bank.make_state(), (4, 5, 6)
    options = {"per_class": 3, "batch_size": 15, "judge": bank.judge()}
    apart = [dict(make_eval(**options, seeds=(seed,)).run(state)) for seed in seeds]
    together = dict(make_eval(**options, seeds=seeds).run(state))
    for figure in ("spread_px", "oracle_agreement", "nearest_train_px", "by_class/linear/fit_residual_px"):
        values = [numbers[figure] for numbers in apart]
        assert together[figure] == pytest.approx(np.mean(values), rel=1e-6), figure
        if min(values) < max(values):
            assert together[f"{figure}_low"] == min(values) and together[f"{figure}_high"] == max(values)
    assert together["spread_px_low"] < together["spread_px"] < together["spread_px_high"]
    assert together["clips"] == 15 and "clips_low" not in together
    assert together["real/spread_px"] == apart[0]["real/spread_px"] and "real/spread_px_low" not in together
    assert make_eval(seeds=seeds).facts["seeds"] == [4, 5, 6] and make_eval().facts["seeds"] == [0]


def test_codes_drawn_independently_stand_beside_the_generators_own():
    numbers, _ = run(bank.real, independent=lambda: bank.trembling, seeds=(0, 1), per_class=3)
    assert numbers["independent/jerk_vs_real"] > 3 > numbers["jerk_vs_real"]
    assert numbers["independent/clips"] == numbers["clips"] == 15
    assert "independent/jerk_vs_real_low" in numbers and "independent/frechet_traj" not in numbers


def test_clips_without_objects_have_figures_of_the_judge_alone():
    plain = ("fps", "pixel_position", "radius_px")
    evaluator = make_eval(judge=bank.judge(), samples=1)
    evaluator = GenerationEval(**{**vars_of(evaluator), "source": bank.source("test", 100, plain),
                                  "train": bank.source("train", 100, plain)})
    numbers = {name: value for name, value in evaluator.run(bank.make_state()) if not isinstance(value, Media)}
    assert numbers["judge_agreement"] == 1.0 and "frechet_traj" in numbers and "spread_px" not in numbers
    with pytest.raises(ValueError, match="no evaluation classifier: nothing can be measured"):
        GenerationEval(**{**vars_of(evaluator), "judge": None})


def vars_of(evaluator: GenerationEval) -> dict:
    return {name: getattr(evaluator, name) for name in GenerationEval.__dataclass_fields__}


def test_decoding_can_be_watched():
    def in_steps(state, task_B, label_B, video_BTHWC, keys_B, keep_steps=False):
        tokens_BSN = jnp.tile(jnp.arange(3)[None, :, None], (len(label_B), 1, 2 * 4 * 4))
        steps = types.SimpleNamespace(tokens=tokens_BSN, masked=tokens_BSN < 2)
        codes_Bthw = tokens_BSN[:, -1].reshape(-1, 2, 4, 4)
        return {"video": bank.real(state, task_B, label_B, video_BTHWC, keys_B)["video"], "codes": codes_Bthw} | (
            {"steps": steps} if keep_steps else {})

    def video(state, codes_Bthw):
        return jnp.repeat(codes_Bthw.repeat(4, 1).repeat(8, 2).repeat(8, 3)[..., None], 3, -1) / 2.0

    def attention(state, tokens_BN, hidden_BN, task_B, label_B):
        return jnp.full((1, 2, 1, 3, 3), label_B)  # of a class which it is

    _, media = run(in_steps, trajectory=decoding_trajectory(in_steps, video, attention), per_class=1)
    trajectory = media["trajectory"]
    assert trajectory["videos"].shape == (5, 3, 8, 32, 32, 3) and trajectory["label"].tolist() == [0, 1, 2, 3, 4]
    assert [np.unique(trajectory["videos"][:, step]).tolist() for step in range(3)] == [[0], [128], [255]]
    assert trajectory["masked"].shape == (5, 3, 2, 4, 4) and trajectory["masked"][:, :2].all()
    assert not trajectory["masked"][:, 2].any()
    assert trajectory["attention"].shape == (2, 1, 3, 3) and (trajectory["attention"] == 0).all()  # of the first clip


def test_attention_is_of_the_first_clip_half_way_through():
    def in_steps(state, task_B, label_B, video_BTHWC, keys_B, keep_steps=False):
        tokens_BSN = jnp.tile(jnp.arange(3)[None, :, None], (len(label_B), 1, 4)) + 10 * label_B[:, None, None]
        return {"codes": tokens_BSN[:, -1].reshape(-1, 1, 2, 2),
                "steps": types.SimpleNamespace(tokens=tokens_BSN, masked=tokens_BSN % 10 < 2)}

    def attention(state, tokens_BN, hidden_BN, task_B, label_B):
        assert tokens_BN.shape == hidden_BN.shape == (1, 4)  # a clip at a time
        return jnp.stack([tokens_BN.sum(1), hidden_BN.sum(1), task_B, label_B], axis=1).reshape(1, 1, 4, 1, 1)

    looked = decoding_trajectory(in_steps, lambda state, codes_Bthw: codes_Bthw, attention)(
        None, jnp.array([5, 6]), jnp.array([0, 1]), None, None)
    np.testing.assert_array_equal(looked["attention"].reshape(2, 4), [[4, 4, 5, 0], [44, 4, 6, 1]])
