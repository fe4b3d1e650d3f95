import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from videogvt.train.contracts import Evaluator, Mean, Media, Plan, When


def test_a_mean_leaves_out_what_is_masked():
    values = jnp.asarray([1.0, 2.0, 6.0, jnp.nan])
    assert Mean.of(values, jnp.asarray([1.0, 1.0, 1.0, 0.0])).compute() == 3.0
    assert Mean.of(jnp.ones((2, 3)), jnp.asarray([1.0, 0.0])).count == 3
    assert np.isnan(Mean.of(values, jnp.zeros(4)).compute())


def test_when_comes_every_so_many_steps_or_at_the_end():
    every, end, both = When(every=4), When(end=True), When(every=4, end=True)
    assert [step for step in range(11) if every.due(step, 10)] == [4, 8]
    assert [step for step in range(11) if end.due(step, 10)] == [10]
    assert [step for step in range(11) if both.due(step, 10)] == [4, 8, 10]


@pytest.mark.parametrize("fields", [{}, {"every": 0}])
def test_a_when_that_never_comes_is_an_error(fields):
    with pytest.raises(ValueError, match="When"):
        When(**fields)


@pytest.mark.parametrize("fields, message", [
    ({"total_steps": 0}, "total_steps is 0; expected at least 1"),
    ({"total_steps": 1, "keep": 1}, "keep is 1; expected at least 2"),
    ({"total_steps": 1, "best_mode": "low"}, "expected 'max' or 'min'"),
    ({"total_steps": 1, "best": "psnr"}, "'eval/<evaluator>/<name>'"),
])
def test_a_plan_that_cannot_be_followed_is_an_error(fields, message):
    with pytest.raises(ValueError, match=message):
        Plan(**fields)


def test_media_are_files_that_open():
    video = np.zeros((3, 8, 6, 3), np.uint8)
    video[1, 2, 3] = 255
    assert Image.open(io.BytesIO(Media.picture(video[1]).data)).size == (6, 8)
    assert Image.open(io.BytesIO(Media.animation(video).data)).format == "GIF"
    assert np.load(io.BytesIO(Media.arrays(track=video).data))["track"].shape == video.shape
    with pytest.raises(ValueError, match="expected uint8"):
        Media.picture(video[1] / 255)


def test_an_evaluator_is_recognised_by_its_three_members():
    assert not isinstance(object(), Evaluator)
