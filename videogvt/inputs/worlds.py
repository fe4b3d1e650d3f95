"""Worlds as TFDS builder configs: the features of an example, and the splits as functions from an index to one."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow_datasets as tfds

from videogvt.inputs.shards import Splits
from videogvt.world.example import FIELDS, Field, example, field_shapes
from videogvt.world.spec import SPECS, WorldSpec


def world_features(
    shapes: Mapping[str, tuple[tuple[int, ...], str]],
    class_names: Iterable[str],
    fields: Mapping[str, Field] = FIELDS,
) -> tfds.features.FeaturesDict:
    """TFDS features for fields of these (shape, dtype), documented by ``fields``; ``label`` becomes a ``ClassLabel``.

    Pictures are stored with zlib, other arrays as their bytes: both decode faster than lists of numbers.
    """
    features = {}
    for name, (shape, dtype) in shapes.items():
        doc = _documentation(fields[name])
        if name == "label":
            features[name] = tfds.features.ClassLabel(names=list(class_names), doc=doc)
        elif dtype == "str":
            features[name] = tfds.features.Text(doc=doc)
        else:
            encoding = "zlib" if dtype == "uint8" else "bytes" if shape else "none"
            features[name] = tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype).type, encoding=encoding, doc=doc)
    return tfds.features.FeaturesDict(features)


def _documentation(field: Field) -> tfds.features.Documentation:
    low, high = field.range
    ends = ["" if end is None else f"{end:g}" for end in (low, high)]
    bounds = "..".join(ends) if any(ends) else ""
    return tfds.features.Documentation(desc=f"{field.doc} ({field.unit})", value_range=bounds)


@dataclasses.dataclass(eq=False, kw_only=True)
class WorldConfig(tfds.core.BuilderConfig):
    """The config of one ``WorldSpec``, whose name it takes. ``WorldConfig(spec=...)`` is all it needs."""

    spec: WorldSpec
    name: str = dataclasses.field(init=False)
    about = (
        "Videos of a ball that moves through 3-D space along a path of a known family, with exact ground truth: world"
        " positions and velocities, pixel positions, camera matrices, the path's equation and a caption. The classes"
        " are exactly balanced, and nothing but the motion tells them apart. The split `ood` holds out camera"
        " elevations, speeds and ball radii. A clip is a pure function of config, split and index."
    )

    def __post_init__(self):
        self.name = self.spec.name
        if self.name in SPECS and self.spec != SPECS[self.name]:
            raise ValueError(f"The spec {self.name!r} differs from the shipped one; give it a name of its own.")
        self.description = self.description or _describe(self.spec)

    def features(self) -> tfds.features.FeaturesDict:
        """What an example holds."""
        return world_features(field_shapes(self.spec), self.spec.families)

    def splits(self) -> Splits:
        """Split name to (size, example function)."""
        return {name: (size, functools.partial(example, self.spec, name)) for name, size in self.spec.splits}

    def metadata(self) -> dict[str, object]:
        """What determines the examples, ready for JSON; two configs of equal metadata give equal bytes."""
        return {"spec": plain_value(self.spec.settings())}


def plain_value(value: object) -> object:
    """The value as JSON gives it back: tuples are lists."""
    if isinstance(value, Mapping):
        return {key: plain_value(item) for key, item in value.items()}
    return [plain_value(item) for item in value] if isinstance(value, list | tuple) else value


def _describe(spec: WorldSpec) -> str:
    numbers = {
        "trail": spec.trail, "motion blur": spec.motion_blur, "sensor noise": spec.sensor_noise,
        "distractors": spec.distractors, "occluders": spec.occluders, "measurement noise": spec.measurement_noise,
        "tail": spec.tail,
    }  # fmt: skip
    parts = [
        f"{len(spec.families)} families ({', '.join(spec.families)})",
        f"{spec.num_frames}x{spec.height}x{spec.width} at {spec.fps:g} frames/s",
        f"rig {spec.rig} of {spec.num_cameras}",
        f"{spec.background} background",
        *(f"{name} {value:g}" for name, value in numbers.items() if value),
    ]
    return ", ".join(parts) + "."
