"""The camera convention, by hand; triangulation; every rig."""

from dataclasses import replace

import numpy as np
import pytest

from videogvt.world.cameras import RIGS, Cameras, intrinsics, look_at, triangulate
from videogvt.world.example import example
from videogvt.world.spec import SPECS


def test_projection_by_hand():
    R, t = look_at(np.array([0.0, -10.0, 2.0]), np.array([0.0, 0.0, 2.0]))
    camera = Cameras(intrinsics(100.0, 31.5, 31.5), R, t)
    points = np.array([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 10.0, 3.0]])
    pixels, depth = camera.project(points)
    np.testing.assert_allclose(depth, [10, 10, 10, 20])
    np.testing.assert_allclose(pixels, [[31.5, 31.5], [41.5, 31.5], [31.5, 21.5], [31.5, 26.5]], atol=1e-12)


def test_look_at_is_a_rotation_without_roll(rng=np.random.default_rng(0)):
    eye, target = rng.normal(size=(50, 3)) * 5, rng.normal(size=(50, 3))
    R, t = look_at(eye, target)
    np.testing.assert_allclose(R @ np.swapaxes(R, -1, -2), np.broadcast_to(np.eye(3), R.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(R), 1.0)
    np.testing.assert_allclose(R[:, 0, 2], 0.0, atol=1e-12)  # the camera's x axis is level
    assert (R[:, 1, 2] < 0).all()  # its y axis points down
    np.testing.assert_allclose(np.einsum("nij,nj->ni", R, eye) + t, 0.0, atol=1e-9)


@pytest.mark.parametrize("name", ["stereo64", "ring64"])
def test_triangulated_positions_match_the_world(name):
    for index in range(20):
        clip = example(SPECS[name], "test", index)
        cameras = Cameras(*(np.moveaxis(clip[f"camera_{part}"].astype(np.float64), 0, 1) for part in "KRt"))
        points = triangulate(cameras, np.moveaxis(clip["pixel_position"].astype(np.float64), 0, 1))
        np.testing.assert_allclose(points, clip["position"], atol=1e-3)


def test_triangulation_needs_two_cameras():
    camera = Cameras(np.eye(3)[None], np.eye(3)[None], np.zeros((1, 3)))
    with pytest.raises(ValueError, match="two or more cameras"):
        triangulate(camera, np.zeros((1, 2)))


def test_stereo_is_rectified():
    clip = example(SPECS["stereo64"], "train", 3)
    left, right = clip["pixel_position"]
    np.testing.assert_allclose(left[:, 1], right[:, 1], atol=1e-3)
    np.testing.assert_array_equal(clip["camera_R"][0], clip["camera_R"][1])


def test_ring_cameras_stand_evenly_around_one_point():
    clip = example(SPECS["ring64"], "train", 1)
    R, t = clip["camera_R"][:, 0].astype(np.float64), clip["camera_t"][:, 0].astype(np.float64)
    eyes = -np.einsum("sij,si->sj", R, t)
    np.testing.assert_allclose(np.ptp(eyes[:, 2]), 0.0, atol=1e-4)
    sides = np.linalg.norm(eyes - np.roll(eyes, 1, axis=0), axis=1)
    np.testing.assert_allclose(sides, sides[0], atol=1e-3)


def test_the_moving_camera_moves_but_starts_at_rest():
    t = np.stack([example(SPECS["moving64"], "train", index)["camera_t"][0] for index in range(10)])
    R = np.stack([example(SPECS["moving64"], "train", index)["camera_R"][0] for index in range(10)])
    eyes = -np.einsum("btij,bti->btj", R, t)
    steps = np.linalg.norm(np.diff(eyes, axis=1), axis=-1)
    assert np.median(steps[:, 7]) > 0.1
    assert (steps[:, 0] <= 0.2 * steps[:, 7] + 1e-6).all()


@pytest.mark.parametrize("rig", RIGS)
def test_the_first_camera_of_every_rig_is_the_mono_camera_at_time_zero(rig):
    spec = SPECS["mono64"]
    count = {"mono": 1, "moving": 1, "stereo": 2, "ring": 4}[rig]
    clip, other = example(spec, "train", 8), example(replace(spec, rig=rig, num_cameras=count), "train", 8)
    elevation = [np.arcsin(-c["camera_R"][0, 0, 2, 2]) for c in (clip, other)]
    assert all(0.08 <= angle <= 0.50001 for angle in elevation)
    assert other["pixel_position"].shape == (count, 16, 2)
