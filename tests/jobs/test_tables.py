"""The socket for other people's encoders, with one in NumPy and, where it is installed, one in PyTorch."""

import numpy as np
import pytest

from videogvt.inputs.sources import ArraySource
from videogvt.jobs.tables import encoded, load_encoder

VIDEO = np.random.default_rng(0).integers(0, 256, (40, 4, 8, 8, 3), dtype=np.uint8)


def mean_colour(video_BTHWC):
    return video_BTHWC.mean((1, 2, 3))


def places(video_BTHWC):
    return video_BTHWC[:, ::2, ::4, ::4].astype(float)


def wrong(video_BTHWC):
    return np.full((len(video_BTHWC), 2), np.nan)


def torch_convolution(video_BTHWC):
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(3, 5, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool3d(1))
    with torch.inference_mode():
        return network(torch.from_numpy(video_BTHWC).permute(0, 4, 1, 2, 3).float() / 255).flatten(1)


def features(name):
    return encoded(f"{__name__}:{name}", ArraySource({"video": VIDEO}))


def test_features_have_a_place_each():
    np.testing.assert_allclose(features("mean_colour")[:, 0, 0, 0], VIDEO.mean((1, 2, 3)), rtol=1e-5)
    assert features("places").shape == (40, 2, 2, 2, 3)


def test_a_torch_module_fits():
    pytest.importorskip("torch")
    found = features("torch_convolution")
    assert found.shape == (40, 1, 1, 1, 5) and found.dtype == np.float32 and found.std() > 0


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="No module named 'nowhere'.*Expected 'module:function'"):
        load_encoder("nowhere:encode")
    with pytest.raises(ValueError, match="which is a ndarray; expected a function"):
        load_encoder(f"{__name__}:VIDEO")
    with pytest.raises(ValueError, match=r"answered 32 clips with \(32, 2\), finite: False"):
        features("wrong")
