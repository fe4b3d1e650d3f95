"""The leaf-wise rule of inflation."""

import logging

import numpy as np
import pytest

from videogvt.nn.inflation import inflate

RNG = np.random.default_rng(0)
IMAGE = {
    "Conv_0": {"kernel": RNG.normal(size=(3, 3, 4, 4)), "bias": RNG.normal(size=4)},
    "Conv_1": {"kernel": RNG.normal(size=(1, 1, 4, 5))},
    "codebook": RNG.normal(size=(8, 5)),
}


def video_params(**extra):
    return {
        "Conv_0": {"kernel": RNG.normal(size=(3, 3, 3, 4, 4)), "bias": RNG.normal(size=4)},
        "Conv_1": {"kernel": RNG.normal(size=(1, 1, 1, 4, 5))},
        "codebook": RNG.normal(size=(8, 5)), **extra,
    }


def test_central_inflation_fills_the_middle_tap():
    result = inflate(video_params(), IMAGE)
    kernel = result["Conv_0"]["kernel"]
    np.testing.assert_array_equal(kernel[1], IMAGE["Conv_0"]["kernel"])
    assert not kernel[0].any() and not kernel[2].any()
    np.testing.assert_array_equal(result["Conv_1"]["kernel"][0], IMAGE["Conv_1"]["kernel"])
    np.testing.assert_array_equal(result["Conv_0"]["bias"], IMAGE["Conv_0"]["bias"])
    np.testing.assert_array_equal(result["codebook"], IMAGE["codebook"])


def test_average_inflation_shares_it_out():
    kernel = inflate(video_params(), IMAGE, mode="average")["Conv_0"]["kernel"]
    np.testing.assert_allclose(kernel.sum(0), IMAGE["Conv_0"]["kernel"])
    np.testing.assert_array_equal(kernel[0], kernel[2])


def test_temporal_kernels_of_factorised_networks_begin_as_the_identity():
    target = video_params(Conv_0_t={"kernel": RNG.normal(size=(3, 1, 1, 4, 4))})
    kernel = inflate(target, IMAGE)["Conv_0_t"]["kernel"]
    np.testing.assert_array_equal(kernel[1, 0, 0], np.eye(4))
    assert not kernel[[0, 2]].any()


def test_temporal_kernels_of_split_networks_take_the_kernels_of_their_per_frame_version():
    target = {"Conv_1": {"kernel": RNG.normal(size=(3, 1, 1, 4, 5))}, "codebook": RNG.normal(size=(8, 5))}
    kernel = inflate(target, IMAGE)["Conv_1"]["kernel"]
    np.testing.assert_array_equal(kernel[1], IMAGE["Conv_1"]["kernel"])
    assert not kernel[[0, 2]].any()
    kernel = inflate(target, IMAGE, mode="average")["Conv_1"]["kernel"]
    np.testing.assert_allclose(kernel, np.repeat(IMAGE["Conv_1"]["kernel"][None] / 3, 3, axis=0))


def test_temporal_kernels_of_split_networks_take_sums_from_wider_kernels_and_say_so(caplog):
    target = {"Conv_0": {"kernel": RNG.normal(size=(3, 1, 1, 4, 4))}}
    with caplog.at_level(logging.WARNING):
        kernel = inflate(target, IMAGE)["Conv_0"]["kernel"]
    np.testing.assert_allclose(kernel[1, 0, 0], IMAGE["Conv_0"]["kernel"].sum((0, 1)))
    assert not kernel[[0, 2]].any()
    assert "sums over space; inflate from conv='split2d'" in caplog.text
    assert "Conv_0/kernel (3, 1, 1, 4, 4) (source (3, 3, 4, 4))" in caplog.text
    assert "keep their initial values" not in caplog.text


def test_the_same_network_is_copied_whole_with_its_dtypes():
    target = {"codebook": np.zeros((8, 5), np.float32)}
    result = inflate(target, {"codebook": IMAGE["codebook"]})
    np.testing.assert_allclose(result["codebook"], IMAGE["codebook"], rtol=1e-6)
    assert result["codebook"].dtype == np.float32


def test_leaves_that_do_not_fit_are_kept_and_listed(caplog):
    target = video_params(codebook=np.ones((16, 5)), head={"kernel": np.ones((2, 2))})
    with caplog.at_level(logging.WARNING):
        result = inflate(target, IMAGE)
    assert (result["codebook"] == 1).all() and (result["head"]["kernel"] == 1).all()
    assert "2 of 5 parameters keep their initial values" in caplog.text
    assert "codebook (16, 5) (source (8, 5)); head/kernel (2, 2) (not in the source)" in caplog.text


def test_a_source_with_nothing_to_give_is_an_error():
    with pytest.raises(ValueError, match="No parameter of the source fits"):
        inflate(video_params(), {"other": np.ones(3)})
    with pytest.raises(ValueError, match="Did you mean 'central'"):
        inflate(video_params(), IMAGE, mode="centre")
