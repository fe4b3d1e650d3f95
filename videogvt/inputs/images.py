"""A folder of pictures as a data set of clips of one frame, for training 2-D tokenizers.

Pictures are read with Pillow: the first frame of an animated one, turned as its EXIF data ask, transparent pixels on
white. A file is unreadable, and left out by name, if Pillow cannot decode all of it.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageOps

from videogvt.inputs.builders import data_root
from videogvt.inputs.folders import FolderBuilder, FolderConfig, Footage, NoFolder
from videogvt.inputs.frames import Framing, Unusable, on_white

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageFolderConfig(FolderConfig):
    """A folder of pictures as clips of one frame; the attributes are those of ``FolderConfig``."""

    suffixes = _SUFFIXES
    kind = "pictures"
    about = "The pictures of a folder at one size, as clips of one frame."

    def examiner(self, threads: int) -> contextlib.AbstractContextManager[Callable[[os.PathLike], Footage]]:
        return contextlib.nullcontext(_examine)

    def reader(self) -> Callable[[str, np.ndarray, str], np.ndarray]:
        return functools.partial(read_picture, framing=self.framing)


class Images(FolderBuilder, skip_registration=True):
    """The pictures of a folder; the config is an ``ImageFolderConfig``."""

    name = "images"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [NoFolder(example="/my/pictures")]
    builder_config_cls = ImageFolderConfig


def prepared_images(
    config: ImageFolderConfig, data_dir: os.PathLike | None = None, workers: int | None = None
) -> Images:
    """The builder of a folder's pictures that are on disk, scaling them first where they are not.

    Args are those of ``builders.prepared``.
    """
    builder = Images(config=config, data_dir=data_root(data_dir))
    builder.workers = workers
    builder.download_and_prepare()
    return builder


def read_picture(path: str, frames_T: np.ndarray, name: str, framing: Framing) -> np.ndarray:
    """The picture as a clip, uint8 (1,H,W,3)."""
    return framing(_picture(path), framing.place(name))[None]


def _examine(path: os.PathLike) -> Footage:
    """One clip, if the picture can be read."""
    _picture(path)
    return Footage(np.zeros((1, 1), np.int32), np.zeros(1, np.float32), 1.0)


def _picture(path: os.PathLike) -> np.ndarray:
    """The picture as uint8 (H,W,3)."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.has_transparency_data:
                return on_white(np.asarray(image.convert("RGBA")))
            return np.asarray(image.convert("RGB"))
    except (SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, for broken PNGs and for giants
        raise Unusable(str(error)) from error
