"""Nothing but motion gives the class away: classifiers that see only the start stay at chance."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from videogvt.world.example import example
from videogvt.world.spec import SPECS

CHANCE, Z99 = 0.2, 2.576


@pytest.fixture(scope="module")
def train_clips():
    clips = [example(SPECS["mono64"], "train", index) for index in range(1500)]
    return {name: np.stack([clip[name] for clip in clips]) for name in clips[0] if name != "video"} | {
        "video": np.stack([clip["video"][:2] for clip in clips])
    }


def start_pixel_and_radius(clips):
    return np.concatenate([clips["pixel_position"][:, 0, 0], clips["radius_px"][:, 0, :1]], axis=1)


def start_heading_and_speed(clips):
    R, focal = clips["camera_R"][:, 0, 0], clips["camera_K"][:, 0, 0, 0, 0]
    velocity = np.einsum("nij,nj->ni", R, clips["velocity"][:, 0])
    depth = np.einsum("nj,nj->n", R[:, 2], clips["position"][:, 0]) + clips["camera_t"][:, 0, 0, 2]
    place = (clips["pixel_position"][:, 0, 0] - 31.5) / focal[:, None]
    across = (velocity[:, :2] - place * velocity[:, 2:]) * (focal / depth)[:, None]
    return np.concatenate([across, np.hypot(*across.T)[:, None], np.arctan2(*across.T)[:, None]], axis=1)


def camera_and_colour(clips):
    colour = clips["video"][:, 0].reshape(len(clips["label"]), -1, 3).min(axis=1)
    camera = [clips["camera_K"][:, 0, 0, 0, :1], clips["camera_R"][:, 0, 0, 2], clips["camera_t"][:, 0, 0]]
    return np.concatenate([colour, *camera], axis=1)


def first_frame(clips):
    """The first frame at 16x16, colours kept."""
    frames = clips["video"][:, 0].astype(np.float32) / 255
    return frames.reshape(len(frames), 16, 4, 16, 4, 3).mean(axis=(2, 4)).reshape(len(frames), -1)


@pytest.mark.parametrize("see", [first_frame, start_pixel_and_radius, start_heading_and_speed, camera_and_colour])
@pytest.mark.parametrize("learner", ["linear", "mlp"])
def test_the_start_does_not_tell_the_class(clips, train_clips, see, learner):
    model = {
        "linear": LogisticRegression(C=0.1, max_iter=50),
        "mlp": MLPClassifier((32,), max_iter=15, random_state=0),
    }[learner]
    classifier = make_pipeline(StandardScaler(), model)
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(UserWarning)  # stopping before convergence is meant
        classifier.fit(see(train_clips), train_clips["label"])
    accuracy = classifier.score(see(clips), clips["label"])
    margin = Z99 * np.sqrt(CHANCE * (1 - CHANCE) / len(clips["label"]))
    assert abs(accuracy - CHANCE) <= margin, f"{accuracy:.3f} lies outside {CHANCE} +- {margin:.3f}"


def test_a_learner_that_sees_motion_does_tell_it(clips, train_clips):
    """The control: the same learner on the whole track is far above chance."""
    tracks = [c["pixel_position"][:, 0].reshape(len(c["label"]), -1) for c in (train_clips, clips)]
    classifier = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=40, random_state=0))
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(UserWarning)
        classifier.fit(tracks[0], train_clips["label"])
    assert classifier.score(tracks[1], clips["label"]) > 0.6
