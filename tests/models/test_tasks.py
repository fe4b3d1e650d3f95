"""The geometry of the ten tasks by hand, and the table as data: one compilation, nothing hidden leaks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogvt.models.tasks import SLOTS, TASKS, TaskTable, parse_task
from videogvt.models.vocabulary import FROM_END, Vocabulary
from videogvt.ops import regions

MULTITASK = Vocabulary(num_codes=40, num_classes=5, multitask=True)
SINGLE = Vocabulary(num_codes=40, num_classes=5)
SMALL = {"video_shape": (8, 16, 16), "latent_shape": (2, 4, 4)}
ALL = (*TASKS, "FP:5", "CFP:7", "FI:2,3", "FI:1,6")


@functools.cache
def table(names=ALL, video_shape=SMALL["video_shape"], latent_shape=SMALL["latent_shape"], vocabulary=MULTITASK,
          **options):
    return TaskTable.build(names, video_shape=video_shape, latent_shape=latent_shape, vocabulary=vocabulary, **options)


@functools.cache
def lookup():
    """All of the small table in one compiled function, and how often it was traced."""
    traces = []

    @jax.jit
    def look_up(video, task, label):
        traces.append(1)
        tasks = table()
        return {"video": tasks.condition_video(video, task), "prefix": tasks.prefix(task, label),
                "pixels": tasks.visible_pixels(task), "tokens": tasks.visible(task)}

    return look_up, traces


def video(seed=0, batch=len(ALL)):
    return np.random.default_rng(seed).random((batch, *SMALL["video_shape"], 3), np.float32)


ids = functools.partial(np.asarray, dtype=np.int32)
EVERY = ids(range(len(ALL)))


def conditions(clips):
    """Condition videos of all tasks, by name; clip i has task i."""
    look_up, _ = lookup()
    return dict(zip(ALL, np.asarray(look_up(clips, EVERY, 0 * EVERY)["video"])))


# Geometry


@pytest.mark.parametrize("size", [128, 64])
@pytest.mark.parametrize("name, pixels, tokens", [
    ("FP", 15 / 16, 3 / 4), ("FI", 14 / 16, 1 / 2), ("OPC", 3 / 4, 3 / 4), ("OPV", 1 / 2, 1 / 2), ("OPH", 1 / 2, 1 / 2),
    ("OPD", 1 / 2, 1 / 2), ("IPC", 1 / 4, 1 / 4), ("IPD", 1 / 4, 1 / 4), ("CG", 1, 1), ("CFP", 15 / 16, 3 / 4),
])
def test_hidden_shares_of_the_published_table(size, name, pixels, tokens):
    sliding = name in ("OPD", "IPD")
    built = table((name,), (16, size, size), (4, 16, 16), rule="released" if sliding else "paper")
    assert 1 - built.visible_nTHW.mean() == pixels and 1 - built.visible_nthw.mean() == tokens


def test_regions_of_the_paper_s_grids():
    rows, columns = np.nonzero(regions.centre((16, 128, 128))[7])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32, 95, 32, 95)
    tokens = dict(zip(TASKS, table(tuple(TASKS), (16, 128, 128), (4, 16, 16)).visible_nthw))
    middle = np.isin(np.arange(16), np.arange(4, 12))
    np.testing.assert_array_equal(tokens["FP"].all((1, 2)), [True, False, False, False])
    np.testing.assert_array_equal(tokens["FI"].all((1, 2)), [True, False, False, True])
    np.testing.assert_array_equal(tokens["OPC"][2], middle[:, None] & middle)
    np.testing.assert_array_equal(tokens["OPV"][2], np.broadcast_to(middle, (16, 16)))
    np.testing.assert_array_equal(tokens["OPH"][2], np.broadcast_to(middle[:, None], (16, 16)))
    np.testing.assert_array_equal(tokens["IPC"], ~tokens["OPC"])
    assert not tokens["CG"].any()


@pytest.mark.parametrize("width, starts", [
    (128, [0, 4, 9, 13, 17, 21, 26, 30, 34, 38, 43, 47, 51, 55, 60, 64]),
    (64, [0, 2, 4, 6, 9, 11, 13, 15, 17, 19, 21, 23, 26, 28, 30, 32]),
])
def test_sliding_windows(width, starts):
    visible_THW, around_THW = table(("OPD", "IPD"), (16, width, width), (4, 16, 16)).visible_nTHW
    for visible_HW, hidden_HW, start in zip(visible_THW, ~around_THW, starts):
        strip = np.isin(np.arange(width), np.arange(start, start + width // 2))
        np.testing.assert_array_equal(visible_HW, np.broadcast_to(strip, (width, width)))
        np.testing.assert_array_equal(hidden_HW.any(0), strip)
        np.testing.assert_array_equal(np.flatnonzero(hidden_HW.any(1)), np.arange(width // 4, 3 * width // 4))


def test_sliding_tokens_by_both_rules():
    columns = lambda rule: [  # noqa: E731
        (np.flatnonzero(row).min(), np.flatnonzero(row).max())
        for row in table(("OPD", "IPD"), (16, 128, 128), (4, 16, 16), rule=rule).visible_nthw[0].all(1)]
    assert columns("paper") == [(0, 9), (2, 11), (4, 13), (6, 15)]
    assert columns("released") == [(0, 7), (3, 10), (5, 12), (8, 15)]
    hidden_thw = ~table(("OPD", "IPD"), (16, 128, 128), (4, 16, 16), rule="released").visible_nthw[1]
    np.testing.assert_array_equal(hidden_thw[1].any(0), np.isin(np.arange(16), np.arange(3, 11)))
    np.testing.assert_array_equal(hidden_thw[1].any(1), np.isin(np.arange(16), np.arange(4, 12)))


def test_tokens_are_the_pooled_pixels_for_every_number_of_given_frames():
    names = tuple([f"FP:{n}" for n in range(1, 16)] + [f"FI:{a},{b}" for a in range(1, 15) for b in range(1, 16 - a)])
    for rule in ("paper", "released"):
        built = table((*names, *TASKS), (16, 16, 16), (4, 4, 4), rule=rule)
        for name, visible_THW, visible_thw in zip(built.names, built.visible_nTHW, built.visible_nthw):
            supervoxels = visible_THW.reshape(4, 4, 4, 4, 4, 4).max((1, 3, 5))
            if rule == "paper" or name not in ("OPD", "IPD"):
                np.testing.assert_array_equal(visible_thw, supervoxels, name)
    np.testing.assert_array_equal(built.visible_nTHW[:15].all((2, 3)).sum(1), np.arange(1, 16))
    assert built.visible_nthw[built.index("FP:5")].all((1, 2)).tolist() == [True, True, False, False]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 2, 6)])
def test_regions_of_any_shape(shape):
    for name in ("centre", "vertical_strip", "horizontal_strip", "sliding_strip"):
        region = getattr(regions, name)(shape)
        assert region.shape == shape and region.any((1, 2)).all()
    assert (regions.sliding_strip(shape).sum(-1) == max(shape[-1] // 2, 1)).all()


# Padding


def test_frames_are_repeated_or_fade_linearly():
    clips = video()
    padded = conditions(clips)
    for name, given in (("FP", 1), ("CFP", 1), ("FP:5", 5), ("CFP:7", 7)):
        clip = clips[ALL.index(name)]
        np.testing.assert_array_equal(padded[name], clip[np.minimum(np.arange(8), given - 1)])
    for name, first, last in (("FI", 1, 1), ("FI:2,3", 2, 3), ("FI:1,6", 1, 6)):
        clip, hidden = clips[ALL.index(name)], 8 - first - last
        a, b = clip[first - 1], clip[8 - last]
        faded = [a + (b - a) * j / (hidden + 1) for j in range(1, hidden + 1)]
        np.testing.assert_allclose(padded[name], [*clip[:first], *faded, *clip[8 - last:]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table().fade_nT[ALL.index("FI")], [0, 1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 0])


def test_edges_are_repeated_or_black():
    clips = video()
    padded = conditions(clips)
    middle = slice(4, 12)
    for name, cut, margins in (("OPC", (middle, middle), (4, 4)), ("OPV", (slice(None), middle), (0, 4)),
                               ("OPH", (middle, slice(None)), (4, 0))):
        inner = clips[ALL.index(name)][:, cut[0], cut[1]]
        expected = np.pad(inner, [(0, 0), *((margin, margin) for margin in margins), (0, 0)], "edge")
        np.testing.assert_array_equal(padded[name], expected)
    for name in ("OPD", "IPC", "IPD", "CG"):
        clip = clips[ALL.index(name)]
        np.testing.assert_array_equal(padded[name], clip * table().visible_nTHW[ALL.index(name)][..., None])


def test_a_background_hides_parts_of_frames_and_leaves_whole_ones_as_they_were():
    clips, plain = video(), conditions(video())
    filled = dict(zip(ALL, np.asarray(table(background=0.75).condition_video(clips, EVERY))))
    for name in ("OPC", "OPV", "OPH", "OPD", "IPC", "IPD"):
        visible_THW1 = table().visible_nTHW[ALL.index(name)][..., None]
        np.testing.assert_array_equal(filled[name], np.where(visible_THW1, clips[ALL.index(name)], 0.75), name)
    for name in ("FP", "FI", "CFP:7", "FI:2,3"):
        np.testing.assert_allclose(filled[name], plain[name], atol=1e-6)
    np.testing.assert_array_equal(filled["CG"], np.full_like(clips[0], 0.75))


def test_no_hidden_pixel_leaks_and_every_given_one_stays():
    clips, visible = video(), table().visible_nTHW[..., None]
    others = np.where(visible, clips, np.where(video(1) < 0.5, np.nan, -video(2)))
    before, after = conditions(clips), conditions(others)
    for name, clip, visible_THW1 in zip(ALL, clips, visible):
        np.testing.assert_array_equal(after[name], before[name], name)
        np.testing.assert_array_equal(np.where(visible_THW1, before[name] - clip, 0), 0, name)


# Prefix


def test_prefix_tokens():
    look_up, _ = lookup()
    prefix = dict(zip(ALL, np.asarray(look_up(video(), EVERY, 0 * EVERY + 3)["prefix"]).tolist()))
    unconditional, size = MULTITASK.unconditional, MULTITASK.size
    for name, (task, label) in prefix.items():
        family = TASKS[name.partition(":")[0]].family
        assert task == size - FROM_END[family]
        assert label == (43 if name.startswith("C") else unconditional)
    assert {prefix[name][0] for name in ("IPC", "IPD")} == {size - 7}
    released = table(("IPC", "OPC"), released_prefix=True)
    np.testing.assert_array_equal(released.prefix(ids([0, 1]), ids([0, 0]))[:, 0], size - 6)
    single = table(("CG", "FP"), vocabulary=SINGLE)
    np.testing.assert_array_equal(single.prefix(ids([0, 1, 0]), ids([4, 4, -1])), [[44], [45], [45]])
    without_classes = table(("CG",), vocabulary=Vocabulary(40))
    np.testing.assert_array_equal(without_classes.prefix(ids([0]), ids([2])), [[40]])


# The table as data


def test_one_compilation_serves_all_tasks_and_mixed_batches():
    look_up, traces = lookup()
    clips, labels = video(), EVERY % 5
    mixed = jax.tree.map(np.asarray, look_up(clips, EVERY, labels))
    for task in EVERY:
        alone = look_up(clips, 0 * EVERY + task, labels)
        for name in mixed:
            np.testing.assert_array_equal(alone[name][task], mixed[name][task])
    assert len(traces) == 1
    np.testing.assert_array_equal(mixed["pixels"], table().visible_nTHW)
    np.testing.assert_array_equal(mixed["tokens"], table().visible_nthw)


def test_needs_condition_and_index():
    assert not table(("CG",)).needs_condition and table(("CG", "FP")).needs_condition
    assert table().index("FI:2,3") == ALL.index("FI:2,3")
    with pytest.raises(ValueError, match="Unknown task 'FI:3,2'. Did you mean 'FI:2,3'"):
        table().index("FI:3,2")


# Mixing


def test_steps_are_balanced_over_a_cycle_and_one_task_serves_a_batch():
    tasks = table(tuple(TASKS))
    drawn = np.asarray(jax.jit(jax.vmap(lambda step: tasks.draw(step, None, 3)))(jnp.arange(10 * SLOTS)))
    assert (drawn == drawn[:, :1]).all() and drawn.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(drawn[:, 0]), SLOTS)
    assert len(set(drawn[:30, 0].tolist())) > 5
    np.testing.assert_array_equal(tasks.draw(10 * SLOTS + 7, None, 3), drawn[7])
    np.testing.assert_array_equal(TaskTable.build(tuple(TASKS), **SMALL, vocabulary=MULTITASK).cycle, tasks.cycle)


def test_weights_of_steps_and_of_samples():
    by_step = table(("FP", "CG"), weights=(3, 1))
    np.testing.assert_array_equal(np.bincount(by_step.cycle), [150, 50])
    by_sample = table(("FP", "CG"), weights=(3, 1), mixing="sample")
    drawn = by_sample.draw(None, jax.random.key(0), 2000)
    assert drawn.dtype == jnp.int32 and abs(float(drawn.mean()) - 0.25) < 0.03
    np.testing.assert_array_equal(by_sample.draw(5, jax.random.key(0), 2000), drawn)


# Errors


@pytest.mark.parametrize("name, message", [
    ("FPP", "Did you mean 'FP'.* Legal task names: CFP, CG, FI, FP, IPC, IPD, OPC, OPD, OPH, OPV"),
    ("OPC:3", "OPC has no number of given frames; write 'OPC'"),
    ("FP:2,3", "FP takes 1 number.* as in 'FP:2'"),
    ("FI:2", "FI takes 2 number.* as in 'FI:2,3'"),
    ("FP:", "FP takes 1 number"),
    ("FP:x", "FP takes 1 number"),
    ("FP:0", "gives 0 frames of clips of 16; it must give at least one"),
    ("FP:16", "gives 16 frames of clips of 16; .* at most 15 in all"),
    ("FI:8,8", r"gives 8 \+ 8 frames of clips of 16"),
])
def test_unknown_tasks(name, message):
    with pytest.raises(ValueError, match=message):
        parse_task(name, 16)


@pytest.mark.parametrize("options, message", [
    ({"names": ()}, r"tasks.names=\[\] must name at least one task"),
    ({"names": ("FP", "FP")}, "none twice"),
    ({"video_shape": (17, 16, 16)}, r"\(17, 16, 16\) do not divide into a latent grid of \(2, 4, 4\)"),
    ({"rule": "papers"}, "Unknown tasks.rule 'papers'. Did you mean 'paper'"),
    ({"mixing": "steps"}, "Unknown tasks.mixing 'steps'. Did you mean 'step'"),
    ({"weights": (1, 0)}, r"tasks.weights=\(1, 0\) must hold one positive number for each of \['FP', 'CG'\]"),
    ({"background": 255}, r"tasks.background is 255; expected a value of pixels in \[0, 1\]"),
    ({"weights": (1,)}, "one positive number for each"),
])
def test_unusable_tables(options, message):
    fields = {"names": ("FP", "CG"), **SMALL, "vocabulary": SINGLE, **options}
    with pytest.raises(ValueError, match=message):
        TaskTable.build(fields.pop("names"), **fields)


def test_a_causal_grid_has_a_latent_frame_of_the_first_frame_alone():
    shapes = {"video_shape": (9, 8, 8), "latent_shape": (3, 2, 2), "lead": 1}
    names = ("FP:1", "FP:2", "FP:5", "FI:1,1", "FI:2,5", "CG")
    given = {"paper": [1, 2, 2, (1, 1), (2, 2), 0], "released": [1, 2, 2, (1, 1), (2, 2), 0]}
    for rule, expected in given.items():
        whole = TaskTable.build(names, vocabulary=SINGLE, rule=rule, **shapes)
        for visible_thw, frames in zip(whole.visible_nthw, expected):
            first, last = frames if isinstance(frames, tuple) else (frames, 0)
            np.testing.assert_array_equal(visible_thw.all((1, 2)), (np.arange(3) < first) | (np.arange(3) >= 3 - last))
            np.testing.assert_array_equal(visible_thw.any((1, 2)), visible_thw.all((1, 2)))
