"""Classifiers by name.

All but the judge are a ``heads.Classifier``: ``module(inputs, *, train)`` is a dict of heads. The judge, which is a
perceptual network too, maps videos to logits and has ``features``; see ``evals.published.EvaluationClassifier``.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from videogvt.core.registry import unknown_name
from videogvt.core.trees import frozen
from videogvt.nn.classifiers.cnns import Cnn3d, FrameCnnAttention, I3DClassifier, SlowFast
from videogvt.nn.classifiers.codes import AttentionPooling, CodeTransformer, LinearProbe, Mlp, ViViT
from videogvt.nn.classifiers.heads import Classifier, MotionClassifier

CLASSIFIERS: Mapping[str, type[nn.Module]] = {
    "judge": MotionClassifier, "linear_probe": LinearProbe, "mlp": Mlp, "attention_pooling": AttentionPooling,
    "code_transformer": CodeTransformer, "cnn3d": Cnn3d, "frame_cnn_attention": FrameCnnAttention,
    "i3d": I3DClassifier, "slowfast": SlowFast, "vivit": ViViT,
}
GIVEN = ("num_classes", "num_positions", "parent", "name")  # fields that no config sets


def make_classifier(section: Mapping[str, Any], num_classes: int, num_positions: int = 0) -> nn.Module:
    """The classifier that ``section["network"]`` names, with the other entries as its fields.

    Raises:
      ValueError: the network or one of the fields is unknown; the message names the nearest legal one. Or positions
        are asked of the judge.
    """
    if "network" not in section:
        raise ValueError(f"config.classifier is {dict(section)}; it needs 'network', one of {', '.join(CLASSIFIERS)}.")
    network, fields = section["network"], {name: value for name, value in section.items() if name != "network"}
    if network not in CLASSIFIERS:
        raise ValueError(unknown_name("network in config.classifier", network, CLASSIFIERS))
    kind = CLASSIFIERS[network]
    legal = [field.name for field in dataclasses.fields(kind) if field.name not in GIVEN]
    for name in fields:
        if name not in legal:
            raise ValueError(unknown_name(f"key of config.classifier for the {network}", name, legal))
    if issubclass(kind, Classifier):
        return kind(num_classes=num_classes, num_positions=num_positions, **frozen(fields))
    if num_positions:
        others = ", ".join(name for name, other in CLASSIFIERS.items() if issubclass(other, Classifier))
        raise ValueError(f"The {network} has no position head; found num_positions={num_positions}. Choose one of "
                         f"{others}.")
    return kind(num_classes=num_classes, **frozen(fields))
