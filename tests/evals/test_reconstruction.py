"""The evaluator on reconstructions that are known exactly, with a padded last batch."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.evals import baselines
from videogvt.evals.reconstruction import ReconstructionEval, image_columns, object_disc
from videogvt.inputs.sources import ArraySource
from videogvt.train.contracts import Evaluator, Media, When
from videogvt.train.parallel import MeshShape
from videogvt.train.state import TrainState
from videogvt.world.example import example
from videogvt.world.spec import SPECS

SPEC = SPECS["tiny"]
CLIPS, BATCH = 10, 4
TRUTH = ("label", "fps", "pixel_position", "radius_px")


def source(fields=TRUTH, class_names=SPEC.families, count=CLIPS) -> ArraySource:
    examples = [example(SPEC, "test", index) for index in range(count)]
    return ArraySource({name: np.stack([item[name] for item in examples]) for name in ("video", "id", *fields)},
                       class_names)


def make_state(level: float) -> TrainState:
    mesh = MeshShape().build(jax.devices()[:1])
    state = TrainState.create(params={"generator": {"level": jnp.full((), level)}}, opt={})
    return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))


def reconstruct(state, video_BTHWC):
    """Fades the clip toward white by the state's level; the code is the clip's number of dark pixels modulo 4."""
    codes_Bthw = (video_BTHWC.min(-1) < 0.5).sum((1, 2, 3), keepdims=True).astype(jnp.int32) % 4
    level = state.params["generator"]["level"]
    return video_BTHWC * level + (1.0 - level), jnp.broadcast_to(codes_Bthw, (len(video_BTHWC), 2, 4, 4))


def make_eval(data, **options) -> ReconstructionEval:
    return ReconstructionEval(source=data, split="test", seed=0, weights="ema", reconstruct=reconstruct, num_codes=4,
                              when=When(end=True), batch_size=BATCH, **options)


@pytest.fixture(scope="module")
def measured() -> tuple[dict, dict]:
    data = source()
    evaluator = make_eval(data, baselines={"background": baselines.background, "same": lambda video: video},
                          untrained=lambda: make_state(0.0), untrained_limit=6, samples=2)
    assert isinstance(evaluator, Evaluator)
    results = dict(evaluator.run(make_state(1.0)))
    media = {name: value for name, value in results.items() if isinstance(value, Media)}
    arrays = {name: dict(np.load(io.BytesIO(value.data))) for name, value in media.items()}
    return {name: value for name, value in results.items() if name not in media}, arrays


def test_a_perfect_reconstruction_has_perfect_figures(measured):
    numbers, _ = measured
    assert numbers["clips"] == CLIPS
    assert numbers["psnr"] == pytest.approx(100.0) and numbers["ssim"] == pytest.approx(1.0, abs=1e-5)
    assert numbers["l1"] < 1e-6 and numbers["object_mse"] < 1e-12 and numbers["track_error_px_median"] == 0.0
    assert numbers["object_found_share"] == numbers["oracle_vs_original"] == 1.0
    assert numbers["oracle_accuracy"] == numbers["original/oracle_accuracy"]


def test_an_answer_has_the_tokenizers_figures(measured):
    numbers, _ = measured
    own = {name for name in numbers if "/" not in name}
    codes = {"codes_used", "code_usage", "code_perplexity", "bits_per_pixel"}
    assert {name.removeprefix("same/") for name in numbers if name.startswith("same/")} == own - codes
    assert all(numbers[f"same/{name}"] == pytest.approx(numbers[name], rel=1e-5, abs=1e-6) for name in own - codes)


def test_the_background_answer_loses_the_object(measured):
    numbers, _ = measured
    assert numbers["background/object_found_share"] == 0.0
    assert numbers["background/track_error_px_median"] == pytest.approx(np.hypot(32, 32), rel=1e-6)
    assert 10 < numbers["background/psnr"] < 40 and numbers["background/object_mse"] > 0.05


def test_the_untrained_tokenizer_is_measured_on_its_share(measured):
    numbers, _ = measured
    assert numbers["untrained/clips"] == 6
    assert numbers["untrained/object_found_share"] == 0.0  # all white
    assert numbers["untrained/bits_per_pixel"] == pytest.approx(2 * 4 * 4 * 2 / (8 * 32 * 32))


def test_codes_are_counted_over_the_split_without_its_padding(measured):
    numbers, arrays = measured
    assert arrays["codes"]["counts_K"].sum() == CLIPS * 2 * 4 * 4
    assert numbers["codes_used"] == (arrays["codes"]["counts_K"] > 0).sum()


def test_the_table_has_a_row_for_each_clip_in_order(measured):
    _, arrays = measured
    ids = arrays["table"]["id"].tolist()
    assert ids == [f"tiny/test/{index:06d}" for index in range(CLIPS)]
    assert arrays["table"]["track_error_px"].shape == (CLIPS, SPEC.num_frames)


def test_samples_are_the_chosen_clips(measured):
    _, arrays = measured
    samples = arrays["samples"]
    assert samples["choice"].tolist() == [name for name in ("first", "best", "median", "worst") for _ in range(2)]
    np.testing.assert_array_equal(samples["original"], samples["reconstruction"])
    np.testing.assert_array_equal(samples["original"][0], example(SPEC, "test", 0)["video"])
    assert samples["original_track"].shape == (8, SPEC.num_frames, 2)


def test_padding_and_batch_size_do_not_matter():
    data = source()
    whole = make_eval(data, samples=0)
    whole.batch_size = CLIPS
    padded = dict(make_eval(data, samples=0).run(make_state(0.7)))
    for name, value in whole.run(make_state(0.7)):
        if not isinstance(value, Media):
            assert padded[name] == pytest.approx(value, rel=1e-5), name


def test_videos_without_truth_have_no_track_columns():
    video = source().read(range(CLIPS))["video"]
    data = ArraySource({"video": video, "id": np.array([f"prüfung/{number}.mp4" for number in range(CLIPS)])})
    results = dict(make_eval(data, limit=5).run(make_state(0.5)))
    numbers = {name for name, value in results.items() if not isinstance(value, Media)}
    assert numbers == {"clips", "psnr", "ssim", "l1", "codes_used", "code_usage", "code_perplexity", "bits_per_pixel"}
    assert results["clips"] == 5
    table = np.load(io.BytesIO(results["table"].data))
    assert "track" not in table and table["id"][4] == "prüfung/4.mp4"


def test_classes_the_oracle_does_not_know_have_no_accuracy():
    evaluator = make_eval(source(class_names=("a", "b", "c", "d", "e")), samples=0)
    names = [name for name, _ in evaluator.run(make_state(1.0))]
    assert "oracle_accuracy" not in names and "track_error_px_median" in names


def test_facts_say_what_is_needed_to_repeat():
    facts = make_eval(source(), limit=7).facts
    assert facts["clips"] == 7 and facts["split"] == "test" and facts["weights"] == "ema" and facts["seed"] == 0
    assert {"split_hash", "batch_size", "num_codes", "class_names", "baselines"} <= set(facts)


@pytest.mark.optimized  # its tolerance is a few units of rounding
def test_image_columns_by_hand():
    original = np.zeros((1, 2, 16, 16, 3), np.uint8)
    video = np.zeros((1, 2, 16, 16, 3), np.float32)
    video[0, 0] = 0.1  # 20 dB in the first frame, equal (100 dB) in the second
    columns = image_columns({"video": original}, video)
    assert columns["psnr"] == pytest.approx(60.0, abs=1e-3) and columns["l1"] == pytest.approx(0.05)
    assert columns["pixels"] == 2 * 16 * 16


def test_object_error_counts_the_objects_own_pixels_alone():
    original = np.full((1, 2, 16, 16, 3), 255, np.uint8)
    video = np.zeros((1, 2, 16, 16, 3), np.float32)
    video[:, :, 4, 5] = 0.5
    truth = {"pixel_position": np.full((1, 1, 2, 2), (5.0, 4.0), np.float32), "radius_px": np.full((1, 1, 2), 1.2)}
    columns = image_columns({"video": original, **truth}, video)
    assert columns["object_pixels"] == 2 * 5  # the centre and its four neighbours
    assert columns["object_sse"] == pytest.approx(2 * (4 * 1.0 + 0.25))


def test_disc_holds_the_pixels_within_the_radius():
    disc = np.asarray(object_disc(jnp.array([[[2.0, 1.0]]]), jnp.array([[1.5]]), (4, 5)))[0, 0]
    assert disc.sum() == 9 and disc[0:3, 1:4].all()


def test_ids_are_texts_of_any_length():
    data = source()
    ids = np.array([f"été/{'long' * 60}{number}.mp4#0" for number in range(CLIPS)])
    data = ArraySource({**data._arrays, "id": ids}, SPEC.families)
    results = dict(make_eval(data, samples=1).run(make_state(1.0)))
    assert np.load(io.BytesIO(results["table"].data))["id"].tolist() == ids.tolist()
    assert set(np.load(io.BytesIO(results["samples"].data))["id"]) <= set(ids)
