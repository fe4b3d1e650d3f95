"""Continued clips of digits that are known exactly, and broken ones; figures by hand; answers that must be exact."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.evals.digit_figures import (
    DIGIT_TRUTH,
    carried_on,
    copied,
    digit_columns,
    digit_figures,
    groups,
    read_columns,
)
from videogvt.evals.digits import ROWS, DigitsEval
from videogvt.evals.generators import evaluators_of
from videogvt.evals.published import DigitReader, EvaluationClassifier
from videogvt.inputs.sources import ArraySource
from videogvt.models.tasks import TaskTable
from videogvt.models.vocabulary import Vocabulary
from videogvt.train.contracts import Evaluator, Media, When
from videogvt.train.parallel import MeshShape
from videogvt.train.state import TrainState
from videogvt.world.digits import CLASS_NAMES, DIGIT_SPECS, digit_example

TINY, CLIPS = DIGIT_SPECS["digits_tiny"], (3, 5, 7, 12, 16, 18)
ASKED_T = np.arange(8) >= 3


def clips() -> dict[str, np.ndarray]:
    items = [digit_example(TINY, "test", index) for index in CLIPS]
    return {name: np.stack([item[name] for item in items]) for name in ("video", "label", "id", "fps", *DIGIT_TRUTH)}


BATCH = clips()


def source(**other) -> ArraySource:
    return ArraySource(BATCH | other, CLASS_NAMES)


def table(names=("FP:3", "CG")) -> TaskTable:
    vocabulary = Vocabulary(num_codes=16, num_classes=55, multitask=True)
    return TaskTable.build(names, video_shape=(8, 32, 32), latent_shape=(4, 4, 4), vocabulary=vocabulary)


def state() -> TrainState:
    mesh = MeshShape().build(jax.devices()[:1])
    return jax.device_put(TrainState.create(params={}, opt={}), NamedSharding(mesh, PartitionSpec()))


def truth(state, task_B, label_B, video_BTHWC, keys_B):
    return {"video": video_BTHWC}


def black(state, task_B, label_B, video_BTHWC, keys_B):
    return {"video": jnp.zeros_like(video_BTHWC)}


def moved(state, task_B, label_B, video_BTHWC, keys_B):
    return {"video": jnp.roll(video_BTHWC, 1, axis=3)}


def always_seven() -> DigitReader:
    def forward(params, video):
        return jnp.zeros((len(video), 10)).at[:, 7].set(9.0), video.mean((1, 2, 3))

    return DigitReader(EvaluationClassifier("sevens", forward, {}), 12)


def run(generate, names=("FP:3",), reader=None, **options) -> tuple[dict[str, float], dict[str, dict]]:
    evaluator = DigitsEval(source=source(), split="test", seed=0, weights="ema", generate=generate, table=table(names),
                           when=When(end=True), reader=reader, batch_size=4, samples=options.pop("samples", 0),
                           reconstruct=lambda state, video: (video, None), **options)
    assert isinstance(evaluator, Evaluator)
    results = dict(evaluator.run(state()))
    media = {name: dict(np.load(io.BytesIO(value.data))) for name, value in results.items()
             if isinstance(value, Media)}
    return {name: value for name, value in results.items() if name not in media}, media


@pytest.fixture(scope="module")
def perfect():
    return run(truth, reader=always_seven(), samples=2)


def test_the_truth_has_nearly_no_error_and_every_answer_its_place(perfect):
    numbers, media = perfect
    assert numbers["prediction_tasks"] == 1 and numbers["FP:3/frames"] == 5 * len(CLIPS)
    own = {row: numbers["/".join(filter(None, ("FP:3", row, "position_error_px")))] for row in ROWS}
    assert own[""] == own["real"] == own["reconstructed"] < 0.2  # what the measure makes of truth
    assert own["constant_velocity"] < 0.2 < own["copy"] < own["other_pair"]
    assert numbers["FP:3/mse"] == numbers["FP:3/real/mse"] == 0.0 < numbers["FP:3/copy/mse"]
    assert numbers["FP:3/found_share"] == numbers["FP:3/front_right_share"] == 1.0
    assert numbers["FP:3/frames"] == sum(
        numbers[f"FP:3/{group}/frames"] for group in ("before_overlap", "overlapping", "after_overlap"))
    assert numbers["FP:3/overlapping/frames"] == BATCH["overlap"][:, 3:].sum() > 5
    assert media["by_frame"]["error"].shape == (1, len(ROWS), 8)
    assert np.isnan(media["by_frame"]["error"][0, :, :3]).all()
    assert (np.diff(media["by_frame"]["error"][0, 1, 3:]) > 0).all()  # copying gets worse with time
    samples = media["samples"]
    np.testing.assert_array_equal(samples["video"][0], samples["original"])
    assert samples["shown"].shape == (1, 8, 32, 32) and len(samples["original"]) == 2


def test_digits_are_right_where_the_reader_names_them(perfect):
    """It always says 7, so it is right where there is one; clips whose last frames all overlap are not counted."""
    numbers, _ = perfect
    apart_N = ~BATCH["overlap"][:, 4:].all(axis=1)
    sevens_N2 = BATCH["digit"][apart_N] == 7
    assert numbers["FP:3/read_clips"] == apart_N.sum() > 3
    assert numbers["FP:3/digit_right_share"] == pytest.approx(sevens_N2.mean()) and sevens_N2.any()
    assert numbers["FP:3/pair_right_share"] == pytest.approx(sevens_N2.all(axis=1).mean())


def test_to_show_nothing_costs_half_the_diagonal_and_reads_nothing():
    numbers, _ = run(black, reader=always_seven(), seeds=(0, 1))
    assert numbers["FP:3/found_share"] == 0.0
    assert numbers["FP:3/position_error_px"] == pytest.approx(np.hypot(32, 32) / 2)
    assert numbers["FP:3/digit_right_share"] == 0.0 and "FP:3/front_right_share" not in numbers
    assert "FP:3/mse_low" not in numbers  # seeds that agree have no range


def test_a_clip_beside_its_place_is_off_by_that_much():
    numbers, _ = run(moved)
    assert numbers["FP:3/position_error_px_median"] == pytest.approx(1.0, abs=0.1)


def test_identities_that_changed_places_are_told_apart_from_places():
    """Two digits that stand at each other's places: no error of place, and both identities wrong."""
    index = CLIPS.index(5)
    row = {name: column[index : index + 1] for name, column in BATCH.items()}
    swapped = row | {name: row[name][:, ::-1] for name in ("image", "digit")} | {"front": 1 - row["front"]}
    columns = digit_columns(row["video"], swapped, ASKED_T)
    assert np.nanmax(columns["error"]) < 0.3
    def read(crops):
        """Says what is there, by the order in which crops are cut out: first digit, then second."""
        log_NK = np.full((len(crops), 10), -9.0)
        halves = np.repeat(row["digit"][0], len(crops) // 2)
        log_NK[np.arange(len(crops)), halves] = 0.0
        return log_NK

    true = digit_columns(row["video"], row, ASKED_T)
    for digit_12, found, share in ((row["digit"], true, 1.0), (swapped["digit"], columns, 0.0)):
        table = found | read_columns(row["video"], found, read, 12) | {"digit": digit_12}
        assert digit_figures(table, 45.0)["pair_right_share"] == share
        assert digit_figures(table, 45.0)["digit_right_share"] == share


def test_groups_by_hand():
    overlap_NT = np.array([[0, 1, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]], bool)
    found = groups(overlap_NT, np.broadcast_to(ASKED_T, (2, 8)))
    assert np.flatnonzero(found["before_overlap"][0]).tolist() == [3]  # an overlap in a given frame is none
    assert np.flatnonzero(found["overlapping"][0]).tolist() == [4, 5]
    assert np.flatnonzero(found["after_overlap"][0]).tolist() == [6, 7]
    assert np.flatnonzero(found["before_overlap"][1]).tolist() == [3, 4, 5, 6, 7]


def test_figures_by_hand():
    nan = np.nan
    error_N2T = np.full((1, 2, 8), nan)
    error_N2T[0, :, 3:] = [[1, 1, 3, 3, nan], [1, 1, 1, 1, 1]]
    front_NT = np.full((1, 8), nan)
    front_NT[0, 5:7] = [1.0, 0.0]
    columns = {"error": error_N2T, "asked": ASKED_T[None], "overlap": np.arange(8)[None] == 5, "mse": np.ones((1, 8)),
               "front_right": front_NT, "digit": np.array([[1, 2]])}
    numbers = digit_figures(columns, 40.0)
    assert numbers["position_error_px"] == pytest.approx((1 + 1 + 3 + 3 + 20 + 5) / 10)
    assert numbers["position_error_px_median"] == 1.0 and numbers["found_share"] == 0.9
    assert numbers["front_right_share"] == 0.5 and numbers["front_frames"] == 2
    assert numbers["before_overlap/position_error_px"] == 1.0 and numbers["before_overlap/frames"] == 2
    assert numbers["after_overlap/position_error_px"] == pytest.approx((3 + 20 + 1 + 1) / 4)


def test_answers_are_exact_where_they_must_be():
    still = copied(BATCH, ASKED_T)
    np.testing.assert_array_equal(still[:, :3], BATCH["video"][:, :3])
    assert all((still[:, time] == BATCH["video"][:, 2]).all() for time in range(3, 8))
    on = carried_on(BATCH, ASKED_T)
    np.testing.assert_array_equal(on[:, :3], BATCH["video"][:, :3])
    wrong = 0
    for row in range(len(CLIPS)):
        apart_T = np.abs(on[row].astype(int) - BATCH["video"][row]).max(axis=(1, 2, 3))
        known = BATCH["front"][row] == 0 or BATCH["overlap"][row, :3].any()
        assert (apart_T[~BATCH["overlap"][row]] <= 1).all()  # positions are stored in single precision
        assert not known or (apart_T <= 1).all()
        wrong += not known
    assert wrong  # of some clips it cannot know who is in front


def test_evaluators_of_digits_follow_from_tasks_and_fields():
    fns = {"generate": truth, "codes": lambda state, video: None, "video": lambda state, codes: None}

    def opened(split, names, without=()):
        part = ArraySource({name: BATCH[name] for name in names}, CLASS_NAMES)
        part.available = tuple(name for name in BATCH if name not in without)
        return part

    common = {"seed": 0, "weights": "ema", "batch_size": 2}
    assert set(evaluators_of(fns, table(), opened, **common)) == {"digits"}
    assert set(evaluators_of(fns, table(("CG",)), opened, **common)) == set()
    with pytest.raises(ValueError, match="reader names digits in clips that were continued; found the tasks CG"):
        evaluators_of(fns, table(("CG",)), opened, reader=always_seven(), **common)
    with pytest.raises(ValueError, match="gives first frames, so there is nothing to predict; add a task such as FP:5"):
        run(truth, ("CG",))
    with pytest.raises(ValueError, match="has no digit; expected clips of moving digits"):
        bare = ArraySource({name: column for name, column in BATCH.items() if name != "digit"}, CLASS_NAMES)
        DigitsEval(source=bare, split="test", seed=0, weights="ema", generate=truth, table=table(),
                   when=When(end=True), batch_size=4)
