"""The evaluator on a classifier whose every answer is known, with a padded last batch and with unequal classes."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from videogvt.evals.classification import ClassificationEval, confusion
from videogvt.inputs.sources import ArraySource
from videogvt.train.contracts import Evaluator, Media, When
from videogvt.train.parallel import MeshShape
from videogvt.train.state import TrainState

NAMES = ("line", "circle", "wave")
LABELS = [0, 0, 0, 1, 1, 2]
ANSWERS = [0, 0, 1, 1, 0, 2]
IDS = ["line/été.mp4#0", *(f"{'long' * 60}{number}.mp4#0" for number in range(5))]
SURE = 4.0  # the logit of the answer; the others' is 0


def source() -> ArraySource:
    """Clips whose first pixel says what the classifier will answer."""
    video = np.zeros((6, 2, 4, 4, 3), np.uint8)
    video[:, 0, 0, 0, 0] = ANSWERS
    return ArraySource({"video": video, "label": np.array(LABELS, np.int32), "id": np.array(IDS)}, NAMES)


def classify(state, video_BTHWC):
    return state.params["classifier"]["sure"] * jax.nn.one_hot(video_BTHWC[:, 0, 0, 0, 0], 3)


def make_eval(**options) -> ClassificationEval:
    return ClassificationEval(source=source(), split="test", seed=0, weights="ema", classify=classify,
                              when=When(end=True), batch_size=4, **options)


@pytest.fixture(scope="module")
def measured() -> tuple[dict, dict]:
    mesh = MeshShape().build(jax.devices()[:1])
    state = TrainState.create(params={"classifier": {"sure": jnp.float32(SURE)}}, opt={})
    results = dict(make_eval().run(jax.device_put(state, NamedSharding(mesh, PartitionSpec()))))
    media = {name: value for name, value in results.items() if isinstance(value, Media)}
    arrays = {name: dict(np.load(io.BytesIO(value.data))) for name, value in media.items()}
    return {name: value for name, value in results.items() if name not in media}, arrays


def test_figures_by_hand(measured):
    numbers, _ = measured
    right, wrong = np.log(np.exp(SURE) + 2) - SURE, np.log(np.exp(SURE) + 2)
    assert numbers == pytest.approx({
        "accuracy": 4 / 6, "loss": (4 * right + 2 * wrong) / 6, "clips": 6,
        "by_class/line": 2 / 3, "by_class/circle": 1 / 2, "by_class/wave": 1.0,
        "chance/accuracy": 3 / 6, "chance/clips": 6,
        "chance/loss": -(np.log(1 / 2) / 2 + np.log(1 / 3) / 3 + np.log(1 / 6) / 6),
    }, rel=1e-5)


def test_confusion_has_a_row_for_each_true_class(measured):
    _, arrays = measured
    expected = [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    np.testing.assert_array_equal(arrays["confusion"]["counts_KK"], expected)
    np.testing.assert_array_equal(confusion(np.array(LABELS), np.array(ANSWERS), 3), expected)
    assert tuple(arrays["confusion"]["class_names"]) == NAMES


def test_the_table_has_a_row_for_each_clip_in_order(measured):
    table = measured[1]["table"]
    assert table["id"].tolist() == IDS
    assert table["prediction"].tolist() == ANSWERS and table["index"].tolist() == list(range(6))
    assert table["correct"].tolist() == [answer == label for answer, label in zip(ANSWERS, LABELS, strict=True)]
    np.testing.assert_allclose(table["probability"], np.exp(SURE) / (np.exp(SURE) + 2), rtol=1e-5)


def test_facts_say_what_is_needed_to_repeat():
    evaluator = make_eval(limit=5)
    assert isinstance(evaluator, Evaluator)
    assert evaluator.facts["clips"] == 5 and evaluator.facts["class_names"] == list(NAMES)
    assert {"split", "split_hash", "seed", "weights", "batch_size"} <= set(evaluator.facts)
