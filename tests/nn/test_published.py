"""I3D, C3D and ResNet-50 against their PyTorch modules, through files, with the same random weights."""

import jax
import numpy as np
import pytest

from tests.nn.weights import quick_jit, random_video
from videogvt.evals import fvd
from videogvt.jobs import judges
from videogvt.nn.c3d import C3D, load_c3d
from videogvt.nn.i3d import I3D, load_i3d

pytestmark = pytest.mark.optimized

torch = pytest.importorskip("torch")
networks = pytest.importorskip("tests.nn.torch_networks")

WIDTHS = (4, 6, 8, 8, 10, 10, 12, 12)
SMALL_C3D = C3D(num_classes=5, widths=WIDTHS, hidden=16)


def channels_first(video_BTHWC):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(video_BTHWC, -1, 1)))


def close(ours, theirs):
    theirs = theirs.numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-4 * np.abs(theirs).max())
    assert theirs.std() > 1e-3


@pytest.fixture(scope="module")
def i3d_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("i3d") / "rgb_imagenet.pt"
    network = networks.randomize(networks.TorchI3D())
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)  # as old as the published file
    return str(path), network


@pytest.fixture(scope="module")
def c3d_network():
    return networks.randomize(networks.TorchC3D(WIDTHS, 16, 5, 12 * 4 * 4))


def test_i3d_is_pytorch_s(i3d_file):
    path, network = i3d_file
    model = I3D(window=(2, 2, 1))
    network.average = torch.nn.AvgPool3d(model.window, 1)
    video = 2 * random_video((2, 17, 43, 30, 3)) - 1  # two steps of time are left to average over
    ours = quick_jit(model.apply)({"params": load_i3d(path)}, video)
    with torch.no_grad():
        close(ours, network(channels_first(video)).mean(2))


def test_i3d_has_the_published_number_of_parameters(i3d_file):
    path, network = i3d_file
    count = sum(leaf.size for leaf in jax.tree.leaves(load_i3d(path)))
    statistics = sum(value.numel() for name, value in network.named_buffers() if "running" in name)
    assert count - statistics == sum(value.numel() for value in network.parameters()) == 12_697_264


@pytest.mark.slow
def test_fvd_s_logits_are_those_of_frames_of_224_pixels(i3d_file):
    path, network = i3d_file
    network.average = torch.nn.AvgPool3d((2, 7, 7), 1)
    video = np.round(255 * random_video((1, 9, 64, 64, 3))).astype(np.uint8)
    scaled = np.asarray(fvd.resize_bilinear(video / np.float32(255), (224, 224)))
    with torch.no_grad():
        close(fvd.i3d(path)(video, batch_size=1), network(channels_first(2 * scaled - 1)).mean(2))


def test_c3d_is_pytorch_s_from_a_state_dict(c3d_network, tmp_path):
    offset = -90 + 5 * torch.randn((3, 16, 112, 112), generator=torch.Generator().manual_seed(1))
    torch.save({**c3d_network.state_dict(), "offset": offset}, tmp_path / "c3d.pt")
    video = random_video((2, 16, 20, 24, 3))
    colours = torch.nn.functional.interpolate(
        channels_first(video), (16, 112, 112), mode="trilinear", align_corners=True)
    with torch.no_grad():
        expected = c3d_network(255 * colours.flip(1) + offset)
    close(fvd.c3d(str(tmp_path / "c3d.pt"), model=SMALL_C3D)(video, batch_size=2), expected)


def test_c3d_s_published_pair_of_files_is_the_same(c3d_network, tmp_path):
    leaves = {"weight": "W", "bias": "b"}
    arrays = {name.replace(".", "/").replace(leaf, leaves[leaf]): value.numpy()
              for name, value in c3d_network.state_dict().items() for leaf in leaves if name.endswith(leaf)}
    mean = np.random.default_rng(2).uniform(80, 110, (3, 16, 128, 171)).astype(np.float32)
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(ValueError, match="offset: missing.*mean2.npz"):
        load_c3d(str(tmp_path / "weights.npz"), model=SMALL_C3D)
    np.savez(tmp_path / "mean2.npz", mean=mean)
    params = load_c3d(str(tmp_path / "weights.npz"), model=SMALL_C3D)
    video = 255 * random_video((1, 16, 112, 112, 3))
    with torch.no_grad():
        expected = c3d_network(channels_first(video) - torch.from_numpy(mean[None, ..., 8:120, 8:120]))
    close(quick_jit(SMALL_C3D.apply)({"params": params}, video), expected)
    np.savez(tmp_path / "other.npz", mean=mean[..., :100])
    with pytest.raises(ValueError, match=r"\(3, 16, 128, 100\); expected \(3, 16, 128, 171\)"):
        load_c3d(str(tmp_path / "weights.npz"), str(tmp_path / "other.npz"), SMALL_C3D)


def test_the_perceptual_network_is_torchvision_s_from_a_pth_file(tmp_path):
    network = networks.randomize(networks.TorchResNet50())
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    loaded = judges.load_perceptual("resnet50", weights=str(tmp_path / "resnet50.pth"))
    video = random_video((1, 2, 224, 224, 3))
    ours = quick_jit(loaded.features)(loaded.params, video)
    mean, std = (torch.tensor(row).reshape(3, 1, 1) for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        close(ours[0], network((torch.from_numpy(video[0]).permute(0, 3, 1, 2) - mean) / std))


def test_files_that_hold_something_else_are_refused(c3d_network, i3d_file, tmp_path):
    path = str(tmp_path / "wrong.pt")
    torch.save(c3d_network, path)
    with pytest.raises(ValueError, match="more than tensors.*network.state_dict"):
        load_i3d(path)
    torch.save({"state_dict": {}, "epoch": 3}, path)
    with pytest.raises(ValueError, match="a dict with the entries state_dict, epoch, not tensors"):
        load_i3d(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds list. Expected a state dict"):
        load_i3d(path)
    state = i3d_file[1].state_dict()
    state["Mixed_9z.weight"] = state.pop("Mixed_3b.b0.bn.running_var")
    torch.save(state, path)
    message = r"1 of \d+ tensors do not fit \(Mixed_3b.b0.bn.running_var: missing, expected \(64,\)\); 1 are unknown"
    with pytest.raises(ValueError, match=message + r" \(Mixed_9z.weight\)"):
        load_i3d(path)
