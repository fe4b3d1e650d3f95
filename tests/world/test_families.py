"""Laws that every family obeys; a new one is tested by being registered."""

import numpy as np
import pytest

from videogvt.world.families import FAMILIES, GRAVITY, Parabolic
from videogvt.world.motion import equation_text, evaluate_equation, turning
from videogvt.world.scene import draw_scene
from videogvt.world.spec import SPECS

SPEC = SPECS["mono64"]
TIME = np.arange(SPEC.num_frames) / SPEC.fps


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(SPEC, "train", index) for index in range(30)]


@pytest.fixture(params=sorted(FAMILIES))
def paths(request, scenes):
    return [scene.paths[request.param] for scene in scenes]


def test_velocity_is_the_derivative_of_position(paths):
    for path in paths:
        slope = (path.position(TIME + 1e-5) - path.position(TIME - 1e-5)) / 2e-5
        np.testing.assert_allclose(path.velocity(TIME), slope, atol=1e-5)


def test_the_equation_evaluates_to_the_positions(paths):
    for path in paths:
        np.testing.assert_allclose(evaluate_equation(equation_text(path), TIME), path.position(TIME), atol=1e-4)


def test_running_backwards_twice_is_running_forwards(paths):
    for path in paths:
        back = path.reversed(SPEC.duration)
        np.testing.assert_allclose(back.position(TIME), path.position(TIME)[::-1], atol=1e-4)
        assert type(back) is type(path)


def test_a_mirrored_and_shifted_path_is_the_mirror_image(paths):
    normal, shift = np.array([0.6, 0.8, 0.0]), np.array([1.0, -2.0, 0.5])
    mirror = np.eye(3) - 2 * np.outer(normal, normal)
    for path in paths:
        placed = path.placed(mirror, shift)
        np.testing.assert_allclose(placed.position(TIME), path.position(TIME) @ mirror + shift, atol=1e-5)


def test_all_families_of_a_scene_start_alike(scenes):
    for scene in scenes:
        start = np.stack([path.position(TIME[:1])[0] for path in scene.paths.values()])
        np.testing.assert_allclose(start, start[:1].repeat(len(start), 0), atol=5e-6)
        steps = [scene.cameras[0, 0].project(path.position(np.array([0.0, 1e-6])))[0] for path in scene.paths.values()]
        slope = np.stack([(step[1] - step[0]) / 1e-6 for step in steps])
        np.testing.assert_allclose(slope, slope[:1].repeat(len(slope), 0), atol=2e-2)  # px/s, of about 60


def test_what_each_family_states(paths):
    family = type(paths[0])
    assert all(bounds.low < bounds.high and bounds.unit and bounds.doc for bounds in family.ranges.values())
    assert len(set(family.captions)) >= 3
    assert FAMILIES[family.name] is family


def test_a_throw_falls_with_gravity(scenes):
    for scene in scenes:
        acceleration = np.diff(scene.paths["parabolic"].velocity(TIME), axis=0) * SPEC.fps
        np.testing.assert_allclose(acceleration, np.broadcast_to([0, 0, -GRAVITY], acceleration.shape), atol=1e-9)
    throw = Parabolic(np.zeros(3), np.array([1.0, 0.0, GRAVITY]))
    np.testing.assert_allclose(throw.position(np.array([1.0, 2.0])), [[1, 0, GRAVITY / 2], [2, 0, 0]])


@pytest.mark.parametrize("name", ["circular", "helical"])
def test_circles_are_round_and_run_at_constant_speed(scenes, name):
    for scene in scenes:
        path = scene.paths[name]
        radius = np.linalg.norm(path.radial)
        assert abs(np.linalg.norm(path.tangent) - radius) < 1e-5
        assert abs(path.radial @ path.tangent) < 1e-5
        assert np.ptp(np.linalg.norm(path.velocity(TIME), axis=1)) < 1e-3
    turns = [scene.paths[name].rate * SPEC.duration / (2 * np.pi) for scene in scenes]
    bounds = FAMILIES[name].ranges["turns"]
    assert bounds.low - 1e-6 <= min(turns) and max(turns) <= bounds.high + 1e-6


def test_turning_by_hand():
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(turning(square), [np.pi / 2, np.pi / 2])
    np.testing.assert_allclose(turning(square[::-1]), [-np.pi / 2, -np.pi / 2])
