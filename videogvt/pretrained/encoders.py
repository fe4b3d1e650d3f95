"""The socket for other people's encoders: a function from videos to features, which then has a row in a study.

    def encode(video_BTHWC):            # NumPy uint8 (B, T, H, W, 3), some dozen clips
        ...                             # PyTorch, a web service, anything
        return features                 # anything NumPy can hold: (B, D), or (B, t, h, w, D) with places in the clip

    config.rows.mine.examples = {"input": "features", "encoder": "my_module:encode"}

``my_module`` has to be importable where the study runs. The function is called once for every clip of a split, in
order, and must answer the same for the same clip. Networks "on codes" learn on its answers, brought to mean 0 and
deviation 1 over the training clips; nothing of the encoder itself is trained.
"""

import importlib
from collections.abc import Callable

import numpy as np

from videogvt.inputs.sources import ClipSource

CALL = 32  # clips that an encoder is given at once


def load_encoder(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that "module:function" names.

    Raises:
      ValueError: there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"config.examples.encoder is {name!r}, and that is {error}. Expected 'module:function' of a "
                         "module that can be imported here, such as a file in the directory of run.py.") from error
    if not callable(found):
        raise ValueError(f"config.examples.encoder is {name!r}, which is a {type(found).__name__}; expected a function "
                         "of videos (B, T, H, W, 3).")
    return found


def encoded(name: str, source: ClipSource) -> np.ndarray:
    """The features of all clips of a source, float32 (N, t, h, w, D), with t = h = w = 1 where clips have one each.

    Raises:
      ValueError: the encoder's answers are of another shape, or not finite.
    """
    encode, parts = load_encoder(name), []
    for start in range(0, len(source), CALL):
        video_BTHWC = source.read(range(start, min(start + CALL, len(source))))["video"]
        features = np.asarray(encode(video_BTHWC), np.float32)
        if features.ndim not in (2, 5) or len(features) != len(video_BTHWC) or not np.isfinite(features).all():
            raise ValueError(f"The encoder {name!r} answered {len(video_BTHWC)} clips with {features.shape}, finite: "
                             f"{bool(np.isfinite(features).all())}; expected finite numbers (B, D) or (B, t, h, w, D).")
        parts.append(features if features.ndim == 5 else features[:, None, None, None])
    return np.concatenate(parts)
