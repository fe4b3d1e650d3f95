"""Predictors that are known exactly, and broken ones, on real clips; the baselines by hand."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from tests.evals import bank
from videogvt.evals.prediction import PredictionEval, by_horizon, error_columns, margin_interval, task_figures
from videogvt.models.tasks import TaskTable
from videogvt.models.vocabulary import Vocabulary
from videogvt.train.contracts import Evaluator, Media, When
from videogvt.train.parallel import MeshShape
from videogvt.train.state import TrainState

TASKS = ("FP:3", "FI", "OPC", "IPC", "CG", "CFP:3")
HALF = np.hypot(32, 32) / 2
CLIPS = 20


def table(names=TASKS) -> TaskTable:
    vocabulary = Vocabulary(num_codes=16, num_classes=bank.K, multitask=True)
    return TaskTable.build(names, video_shape=(8, 32, 32), latent_shape=(2, 4, 4), vocabulary=vocabulary)


def state() -> TrainState:
    mesh = MeshShape().build(jax.devices()[:1])
    return jax.device_put(TrainState.create(params={}, opt={}), NamedSharding(mesh, PartitionSpec()))


def make_eval(generate, names=TASKS, **options) -> PredictionEval:
    settings = {"samples": 0, "batch_size": 12, "limit": CLIPS} | options
    return PredictionEval(source=bank.source("test", 100), split="test", seed=0, weights="ema", generate=generate,
                          table=table(names), when=When(end=True), **settings)


def run(generate, names=TASKS, **options) -> tuple[dict[str, float], dict[str, dict]]:
    results = dict(make_eval(generate, names, **options).run(state()))
    media = {name: dict(np.load(io.BytesIO(value.data))) for name, value in results.items()
             if isinstance(value, Media)}
    return {name: value for name, value in results.items() if name not in media}, media


def truth(state, task_B, label_B, video_BTHWC, keys_B):
    return {"video": video_BTHWC}


def moved(state, task_B, label_B, video_BTHWC, keys_B):
    return {"video": jnp.roll(video_BTHWC, 2, axis=3)}


def white(state, task_B, label_B, video_BTHWC, keys_B):
    return {"video": jnp.ones_like(video_BTHWC)}


def last_given(state, task_B, label_B, video_BTHWC, keys_B):
    """The third frame for ever."""
    return {"video": jnp.concatenate([video_BTHWC[:, :3], jnp.repeat(video_BTHWC[:, 2:3], 5, axis=1)], axis=1)}


@pytest.fixture(scope="module")
def perfect():
    return run(truth, samples=2)


def test_the_truth_has_no_error(perfect):
    numbers, _ = perfect
    assert isinstance(make_eval(truth), Evaluator)
    assert numbers["tasks"] == numbers["tasks_beating_baselines"] == 5  # generation by class gives nothing
    assert numbers["error_vs_baseline"] == 0.0
    for task in ("FP:3", "FI", "OPC", "IPC", "CFP:3"):
        assert numbers[f"{task}/track_error_px"] == numbers[f"{task}/given_error_px"] == 0.0
        assert numbers[f"{task}/found_share"] == 1.0
        for answer in ("copy", "constant_velocity", "constant_acceleration", "interpolation"):
            assert numbers[f"{task}/{answer}/track_error_px"] > 0.1
    assert numbers["FP:3/frames"] == CLIPS * 5 and numbers["FI/frames"] == CLIPS * 6
    assert numbers["FP:3/baselines_beaten"] == 3 and numbers["FI/baselines_beaten"] == 2
    best = min(numbers[f"FP:3/{answer}/track_error_px"] for answer in ("copy", "constant_velocity",
                                                                       "constant_acceleration"))
    assert numbers["FP:3/margin_px"] == pytest.approx(best)
    assert 0 < numbers["FP:3/margin_px_from"] < best < numbers["FP:3/margin_px_to"]


def test_baselines_are_as_good_as_the_motion_allows(perfect):
    numbers, _ = perfect
    row = "FP:3/{}/by_class/{}/late_error_px"
    assert numbers[row.format("constant_velocity", "linear")] < 1.0 < numbers[row.format("copy", "linear")]
    assert numbers[row.format("constant_acceleration", "parabolic")] < numbers[row.format("copy", "parabolic")]
    assert numbers[row.format("constant_velocity", "circular")] > 2.0
    assert numbers["FI/interpolation/track_error_px"] < numbers["FI/copy/track_error_px"]


def test_hidden_objects_are_counted_apart(perfect):
    numbers, _ = perfect
    assert numbers["FP:3/unseen_clips"] == 0 and "FP:3/unseen_found_share" not in numbers
    assert numbers["OPC/frames"] + numbers["IPC/frames"] <= CLIPS * 8  # one region is the complement of the other
    assert numbers["OPC/unseen_clips"] + numbers["IPC/unseen_clips"] > 0
    unseen = next(task for task in ("OPC", "IPC") if numbers[f"{task}/unseen_clips"])
    assert numbers[f"{unseen}/unseen_found_share"] == 1.0
    assert numbers[f"{unseen}/unseen_jerk_px"] == numbers[f"{unseen}/unseen_original_jerk_px"]


def test_files(perfect):
    _, media = perfect
    horizons, samples = media["horizons"], media["samples"]
    assert horizons["error"].shape == (5, 5, 6, 8) and horizons["rows"][0] == "" and horizons["tasks"][0] == "FP:3"
    assert (horizons["error"][0, 0, 0, 1:6] == 0).all() and np.isnan(horizons["error"][0, 0, 0, 6:]).all()
    assert (np.diff(horizons["error"][0, 1, 0, 1:6]) > 0).all()  # copying gets worse with time
    assert samples["video"].shape == (5, 2, 8, 32, 32, 3) and samples["shown"].shape == (5, 8, 32, 32)
    np.testing.assert_array_equal(samples["video"][0], samples["original"])


def test_an_object_beside_its_place_is_off_by_that_much():
    numbers, _ = run(moved, ("FP:3",))
    assert numbers["FP:3/track_error_px_median"] == pytest.approx(2.0, abs=0.05)
    assert numbers["FP:3/given_error_px"] == pytest.approx(2.0, abs=0.3)


def test_nothing_shown_is_half_the_diagonal_off():
    numbers, _ = run(white, ("FP:3", "OPC"))
    for task in ("FP:3", "OPC"):
        assert numbers[f"{task}/track_error_px"] == pytest.approx(HALF, rel=1e-6)
        assert numbers[f"{task}/found_share"] == 0.0 and f"{task}/track_error_found_px" not in numbers
        assert numbers[f"{task}/error_vs_baseline"] > 1.0 and numbers[f"{task}/baselines_beaten"] == 0
    assert numbers["tasks_beating_baselines"] == 0


def test_copying_pixels_is_copying_the_track():
    numbers, _ = run(last_given, ("FP:3",))
    for figure in ("track_error_px", "track_error_px_median", "late_error_px"):
        assert numbers[f"FP:3/{figure}"] == pytest.approx(numbers[f"FP:3/copy/{figure}"], abs=1e-4)
    assert numbers["FP:3/baselines_beaten"] <= 2 and numbers["FP:3/given_error_px"] == 0.0


def test_batch_size_does_not_matter():
    def noisy(state, task_B, label_B, video_BTHWC, keys_B):
        shift_B = jax.vmap(lambda key: jax.random.randint(key, (), 0, 4))(keys_B)
        return {"video": jax.vmap(lambda video, shift: jnp.roll(video, shift, axis=2))(video_BTHWC, shift_B)}

    whole = run(noisy, ("FP:3", "IPC"), batch_size=20)[0]
    assert run(noisy, ("FP:3", "IPC"), batch_size=8)[0] == pytest.approx(whole, rel=1e-5)


def test_errors_by_hand():
    truth_BT2 = np.tile(np.stack([4.0 * np.arange(8.0) + 2, np.full(8, 16.0)], axis=-1), (2, 1, 1))
    track_BT2 = truth_BT2 + (3.0, 4.0)
    track_BT2[0, 6] = np.nan
    visible = np.zeros((8, 32, 32), bool)
    visible[:2] = True
    columns = error_columns(track_BT2, truth_BT2, visible) | {"label": np.array([0, 1])}
    assert columns["given"].sum() == 4 and columns["horizon"][0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    figures = task_figures(columns, "FP:2", ("a", "b"), 100.0)
    assert figures["frames"] == 12 and figures["found_share"] == pytest.approx(11 / 12)
    assert figures["track_error_found_px"] == pytest.approx(5.0)
    assert figures["track_error_px"] == pytest.approx((11 * 5 + 50) / 12)
    assert figures["late_error_px"] == pytest.approx((5 * 5 + 50) / 6)
    assert figures["by_class/a/late_error_px"] == pytest.approx((2 * 5 + 50) / 3)
    assert figures["copy/track_error_px"] == pytest.approx(4 * 3.5) and "constant_velocity/late_error_px" in figures
    assert figures["constant_velocity/track_error_px"] == pytest.approx(0.0, abs=1e-5)
    assert "error_vs_baseline" not in figures  # a rival without an error has no ratio
    curves = by_horizon({"FP:2": columns}, ("a", "b"))
    assert curves["error"][0, 0, 0, 5] == pytest.approx(5.0) and curves["found"][0, 0, 5] == 0.5


def drawn(state, task_B, label_B, video_BTHWC, keys_B):
    """Moved to the right by 0 to 3 pixels, as the keys have it."""
    by_B = jax.vmap(lambda key: jax.random.randint(key, (), 0, 4))(keys_B)
    return {"video": jax.vmap(lambda video, by: jnp.roll(video, by, axis=2))(video_BTHWC, by_B)}


def test_figures_of_several_seeds_are_means_with_their_range():
    name, seeds = "FP:3/track_error_px", (7, 8)
    apart = [run(drawn, ("FP:3",), seeds=(seed,))[0] for seed in seeds]
    together, _ = run(drawn, ("FP:3",), seeds=seeds)
    low, high = sorted(numbers[name] for numbers in apart)
    assert low < high and together[name] == pytest.approx((low + high) / 2)
    assert (together[f"{name}_low"], together[f"{name}_high"]) == (low, high)
    assert together["FP:3/copy/track_error_px"] == apart[0]["FP:3/copy/track_error_px"]
    assert "FP:3/copy/track_error_px_low" not in together and together["FP:3/frames"] == apart[0]["FP:3/frames"]
    assert make_eval(drawn, ("FP:3",), seeds=seeds).facts["seeds"] == [7, 8]


def test_tasks_that_give_nothing_are_refused():
    with pytest.raises(ValueError, match="GenerationEval"):
        make_eval(truth, ("CG",))


def test_facts():
    facts = make_eval(truth, settings={"steps": 12}).facts
    assert facts["tasks"] == ["FP:3", "FI", "OPC", "IPC", "CFP:3"] and facts["decoding"] == {"steps": 12}


def test_the_interval_of_a_margin_is_of_whole_clips():
    rng = np.random.default_rng(0)
    margin_N1 = rng.normal(0.3, 2.0, (400, 1))
    asked_N8 = np.ones((400, 8), bool)
    low, high = margin_interval(np.repeat(margin_N1, 8, axis=1), asked_N8)  # frames of a clip are no 8 observations
    expected = 1.96 * margin_N1.std() / np.sqrt(400)
    assert low == pytest.approx(margin_N1.mean() - expected, abs=0.03)
    assert high == pytest.approx(margin_N1.mean() + expected, abs=0.03)
    asked_N8[1:] = False
    assert margin_interval(np.repeat(margin_N1, 8, axis=1), asked_N8) is None
