"""Small example functions that worker processes can import."""

import os
import pathlib
import signal
import time

import numpy as np
import tensorflow_datasets as tfds

FEATURES = tfds.features.FeaturesDict(
    {
        "video": tfds.features.Tensor(shape=(2, 4, 4, 3), dtype=np.uint8, encoding="zlib"),
        "label": tfds.features.ClassLabel(names=["left", "right"]),
        "id": tfds.features.Text(),
    }
)


def clip(index: int) -> dict[str, object]:
    video = np.random.default_rng(index).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    return {"video": video, "label": index % 2, "id": f"clip/{index}"}


def odd_only(index: int) -> dict[str, object] | None:
    return clip(index) if index % 2 else None


def late_only(index: int) -> dict[str, object] | None:
    return clip(index) if index >= 1000 else None


def nothing(index: int) -> None:
    return None


def broken(index: int) -> dict[str, object]:
    if index == 3:
        raise ZeroDivisionError("no clip three")
    return clip(index)


def killed(index: int) -> dict[str, object]:
    os.kill(os.getpid(), signal.SIGKILL)


def noted(folder: str, seconds: float, index: int) -> dict[str, object]:
    """Leaves a file named after the process in ``folder``, and takes its time."""
    (pathlib.Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)
    return clip(index)


BIG_FEATURES = tfds.features.FeaturesDict(
    {"video": tfds.features.Tensor(shape=(16, 64, 64, 3), dtype=np.uint8, encoding="zlib")}
)


def noise(index: int) -> dict[str, object]:
    """A clip that does not compress."""
    pixels = np.frombuffer(np.random.default_rng(index).bytes(16 * 64 * 64 * 3), np.uint8)
    return {"video": pixels.reshape(16, 64, 64, 3)}
