"""Tokenizers made by hand, pure functions of cells, whose figures can be counted."""

import io

import jax.numpy as jnp
import numpy as np
import pytest

from tests.evals.test_reconstruction import make_state
from videogvt.evals.modelability import ModelabilityEval, blank_cells, duplicates, nearest_other, swap, with_noise
from videogvt.inputs.sources import ArraySource
from videogvt.train.contracts import Evaluator, Media, When

MARKED = -1  # a cell of nothing but 254 and 255 in a pattern that noise destroys
CORNER = -2  # a cell whose first pixel is white and all others black
VECTORS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0005], [3.0, 0.0], [3.5, 0.0], [10.0, 0.0]], np.float32)
TEST = [[10] * 6 + [255] * 2, [10] * 6 + [200] * 2, [128] * 2 + [10] * 4 + [254, 255], [10] * 8,
        [MARKED, 30, 100, 100, 255, 255, 255, CORNER]]
TRAIN = [[255] * 8, [255] * 8, [255] * 8, [10] * 8]


def clips(values_N8) -> ArraySource:
    """Clips (2, 8, 8) of 2 x 2 x 2 cells of 1 x 4 x 4 pixels, each of one grey value."""
    values_N8 = np.array(values_N8)
    cells = np.broadcast_to(values_N8.clip(0)[..., None, None], (*values_N8.shape, 4, 4)).copy()
    cells[values_N8 == MARKED] = 254 + np.indices((4, 4)).sum(0) % 2
    cells[values_N8 == CORNER, 0, 0] = 255
    frames = cells.reshape(-1, 2, 2, 2, 4, 4).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 2, 8, 8)
    return ArraySource({"video": np.repeat(frames[..., None], 3, axis=-1).astype(np.uint8)})


def codes(state, video_BTHWC):
    """0 where a cell's first pixel is at least 250 or 200, 1 below 64, 3 for 128, 4 beside it; 5 for the pattern."""
    level = jnp.round(video_BTHWC[..., 0] * 255).reshape(-1, 2, 2, 4, 2, 4).transpose(0, 1, 2, 4, 3, 5)
    first = level[..., 0, 0]
    kinds = [(first >= 250) | (first == 200), first < 64, first == 128, abs(first - 128) <= 2]
    code = jnp.select(kinds, [0, 1, 3, 4], 2)
    pattern = 254 + np.indices((4, 4)).sum(0) % 2
    return jnp.where((level == pattern).all((-2, -1)), 5, code).astype(jnp.int32)


def embed(state, codes_Bthw):
    return jnp.asarray(VECTORS)[codes_Bthw]


def no_video(state, codes_Bthw):
    raise AssertionError("without truth nothing is decoded")


def make_eval(test=TEST, train=TRAIN, **options) -> ModelabilityEval:
    source, train = (part if isinstance(part, ArraySource) else clips(part) for part in (test, train))
    options = {"codes": codes, "video": no_video, "embed": embed, "num_codes": 6, "batch_size": 2,
               **options}
    return ModelabilityEval(
        source=source, train=train, split="test", seed=0, weights="ema", when=When(end=True), **options)


def numbers_of(evaluator) -> dict[str, float]:
    return {name: value for name, value in evaluator.run(make_state(1.0)) if not isinstance(value, Media)}


def test_figures_counted_by_hand():
    share = np.array([25, 2, 2, 1]) / 30  # of the codes 1, 2, 3 and 5
    perplexity = np.exp(-(share * np.log(share)).sum())
    assert numbers_of(make_eval()) == pytest.approx({
        "clips": 5, "train_clips": 4, "tokens_per_clip": 8,
        "speaking_per_clip": 30 / 5,  # code 1 is the most frequent here, and 0 in the training split
        "empty_share": 7 / 8,  # blank are 2 + 2 + 4 cells, of which the marked one has a code of its own
        "codes_used_speaking": 4, "usage_speaking": 4 / 6, "perplexity_speaking": perplexity,
        "duplicates": 1,
        "noise_changed_speaking": 3 / 30,  # those of 128, and the marked one
        "noise_changed_empty": 2 / 10,  # those of 200
    })


def test_it_is_an_evaluator_that_leaves_what_it_counted():
    evaluator = make_eval()
    assert isinstance(evaluator, Evaluator)
    assert evaluator.facts["clips"] == 5 and evaluator.facts["train_clips"] == 4 and evaluator.facts["split"] == "test"
    files = {name: np.load(io.BytesIO(value.data)) for name, value in evaluator.run(make_state(1.0))
             if isinstance(value, Media)}
    assert files["table"]["speaking"].tolist() == [6, 6, 6, 8, 4]
    assert files["table"]["blank"].tolist() == [2, 0, 2, 0, 4]
    assert files["counts"]["counts_K"].tolist() == [0, 25, 2, 2, 0, 1] and files["counts"]["empty"] == 0
    assert files["counts"]["background_C"].tolist() == [255, 255, 255]


@pytest.mark.parametrize("batch_size", [1, 5, 8])
def test_the_batch_size_does_not_matter(batch_size):
    assert numbers_of(make_eval(batch_size=batch_size)) == pytest.approx(numbers_of(make_eval()))


def test_limits_are_kept():
    numbers = numbers_of(make_eval(limit=3, train_limit=2))
    assert numbers["clips"] == 3 and numbers["speaking_per_clip"] == 6 and numbers["train_clips"] == 2


def test_what_cannot_be_said_is_absent():
    always = {"clips", "train_clips", "tokens_per_clip", "speaking_per_clip", "codes_used_speaking", "usage_speaking",
              "duplicates"}
    silent = numbers_of(make_eval(test=[[255] * 8]))
    assert set(silent) == always | {"empty_share", "noise_changed_empty"}
    assert silent["speaking_per_clip"] == silent["codes_used_speaking"] == 0 and silent["empty_share"] == 1
    loud = numbers_of(make_eval(test=[[10] * 8]))
    assert set(loud) == always | {"perplexity_speaking", "noise_changed_speaking"} and loud["perplexity_speaking"] == 1


def test_the_background_is_a_colour_and_cells_may_differ_from_it_by_one():
    background_C = np.array([10, 255, 0], np.uint8)
    video = np.broadcast_to(background_C, (1, 2, 4, 4, 3)).copy()
    video[0, 0, 0, 0] = (11, 254, 1)  # still blank
    video[0, 0, 3, 3] = (12, 255, 0)
    video[0, 1, 0, 3] = (10, 253, 0)
    blank = blank_cells(video, background_C, (2, 2, 2))
    assert blank.tolist() == [[[[True, True], [True, False]], [[True, False], [True, True]]]]
    causal = blank_cells(np.concatenate([video[:, :1], video, video], axis=1), background_C, (3, 2, 2), lead=1)
    both = blank[0, 0] & blank[0, 1]  # after the first frame alone
    assert causal.tolist() == [[blank[0, 0].tolist(), both.tolist(), both.tolist()]]


def test_noise_is_one_up_or_down_and_the_clips_own():
    video = np.stack([np.zeros((2, 32, 32, 3), np.uint8), np.full((2, 32, 32, 3), 100), np.full((2, 32, 32, 3), 255)])
    noisy = with_noise(video.astype(np.uint8), np.array([3, 8, 4]))
    assert [set(np.unique(clip)) for clip in noisy] == [{0, 1}, {99, 101}, {254, 255}] and noisy.dtype == np.uint8
    assert abs((noisy[1] == 101).mean() - 0.5) < 0.03
    np.testing.assert_array_equal(noisy[1], with_noise(video[1:2].astype(np.uint8), np.array([8]))[0])
    assert (with_noise(video[1:2].astype(np.uint8), np.array([9]))[0] != noisy[1]).any()


def test_duplicates_are_counted_once_and_are_no_other_code():
    assert nearest_other(VECTORS, np.array([0, 1, 2, 3, 4, 5])).tolist() == [1, 0, 0, 4, 3, 4]
    thrice = np.array([[0.0], [5.0], [0.0005], [0.0008], [0.002]])
    assert duplicates(thrice) == 2  # 0.0005 and 0.0008 of 0; 0.002 is 0.0012 from its nearest
    assert nearest_other(thrice, np.array([0, 3])).tolist() == [4, 4]
    assert duplicates(np.zeros((4, 2))) == 3 and nearest_other(np.zeros((4, 2)), np.array([1])).tolist() == [-1]


def test_a_swap_replaces_speaking_codes_by_their_nearest():
    codes_Bthw = np.array([0, 3, 5, 4] * 24).reshape(2, 3, 4, 4)
    speaking, index = codes_Bthw != 0, np.array([7, 2])
    variants, able_B = swap(codes_Bthw, speaking, index, VECTORS)
    changed = {name: variant != codes_Bthw for name, variant in variants.items()}
    assert {name: places.sum((1, 2, 3)).tolist() for name, places in changed.items()} == {
        "unswapped": [0, 0], "one_swapped": [1, 1], "twentieth_swapped": [2, 2]}  # of 36: 1.8, rounded up
    expected = np.array([-1, -1, -1, 4, 3, 4])[codes_Bthw]
    for name, places in changed.items():
        assert (variants[name][places] == expected[places]).all() and not (places & ~speaking).any()
    assert able_B.all() and not (changed["one_swapped"] & ~changed["twentieth_swapped"]).any()
    alone, _ = swap(codes_Bthw[1:], speaking[1:], index[1:], VECTORS)
    np.testing.assert_array_equal(alone["twentieth_swapped"][0], variants["twentieth_swapped"][1])
    one_code, able_B = swap(codes_Bthw, speaking, index, np.zeros((6, 2)))
    assert not able_B.any() and (one_code["one_swapped"] == codes_Bthw).all()


FRAMES = 24


def squares(count: int) -> ArraySource:
    """A black cell of 4 x 4 pixels that moves through white clips of 24 x 32 x 32, a cell a frame; the last one is
    empty."""
    video = np.full((count, FRAMES, 32, 32, 3), 255, np.uint8)
    position = np.zeros((count, 1, FRAMES, 2), np.float32)
    for clip in range(count):
        for frame in range(FRAMES):
            row, column = 4 * (clip % 8), 4 * (frame % 8)
            position[clip, 0, frame] = column + 1.5, row + 1.5
            if clip < count - 1:
                video[clip, frame, row : row + 4, column : column + 4] = 0
    radius = np.full((count, 1, FRAMES), 4 / np.sqrt(np.pi), np.float32)
    return ArraySource({"video": video, "label": np.zeros(count, int), "fps": np.full(count, 12.0),
                        "pixel_position": position, "radius_px": radius}, ("one",))


def of_squares(count: int, **options) -> ModelabilityEval:
    def paint(state, codes_Bthw):
        frames = jnp.repeat(jnp.repeat(codes_Bthw != 1, 4, axis=2), 4, axis=3)
        return jnp.repeat(frames[..., None], 3, axis=-1).astype(jnp.float32)

    def look(state, video_BTHWC):
        return (video_BTHWC[:, :, ::4, ::4, 0] < 0.5).astype(jnp.int32)

    data = squares(count)
    return make_eval(data, data, codes=look, video=paint, num_codes=2,
                     embed=lambda state, codes_Bthw: codes_Bthw[..., None].astype(jnp.float32), **options)


def test_tracks_of_swapped_codes_by_hand():
    numbers = numbers_of(of_squares(4, batch_size=4))  # one of these has nothing to swap
    whole = {"clips": 3, "object_found_share": 1, "track_error_px_median": 0, "track_error_px_p95": 0}
    assert {name: numbers[f"unswapped/{name}"] for name in whole} == whole
    assert {name: numbers[f"one_swapped/{name}"] for name in whole} == pytest.approx(
        whole | {"object_found_share": 23 / 24})  # the nearest other code is the empty one
    assert {name: numbers[f"twentieth_swapped/{name}"] for name in whole} == pytest.approx(
        whole | {"object_found_share": 22 / 24, "track_error_px_p95": np.hypot(32, 32)})
    assert numbers["speaking_per_clip"] == 24 * 3 / 4 and numbers["duplicates"] == 0


def test_swaps_look_at_their_own_number_of_clips():
    numbers = numbers_of(of_squares(4, batch_size=2, swap_limit=1))
    assert numbers["clips"] == 4 and numbers["unswapped/clips"] == numbers["one_swapped/clips"] == 1


def test_clips_without_a_code_to_swap_have_no_tracks():
    assert not [name for name in numbers_of(of_squares(1)) if "swapped" in name]
