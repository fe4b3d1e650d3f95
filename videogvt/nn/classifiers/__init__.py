"""Classifiers of clips by name. Each maps videos in [0, 1] to logits, and has ``features``; see ``judge.Judge``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from videogvt.core.registry import unknown_name
from videogvt.core.trees import frozen
from videogvt.nn.classifiers.judge import Judge

CLASSIFIERS: Mapping[str, type[nn.Module]] = {"judge": Judge}


def make_classifier(section: Mapping[str, Any], num_classes: int) -> nn.Module:
    """The classifier that ``section["network"]`` names, with the other entries as its fields.

    Raises:
      ValueError: the network or one of the fields is unknown; the message names the nearest legal one.
    """
    if "network" not in section:
        raise ValueError(f"config.classifier is {dict(section)}; it needs 'network', one of {', '.join(CLASSIFIERS)}.")
    network, fields = section["network"], {name: value for name, value in section.items() if name != "network"}
    if network not in CLASSIFIERS:
        raise ValueError(unknown_name("network in config.classifier", network, CLASSIFIERS))
    kind = CLASSIFIERS[network]
    legal = [field.name for field in dataclasses.fields(kind) if field.name not in ("num_classes", "parent", "name")]
    for name in fields:
        if name not in legal:
            raise ValueError(unknown_name(f"key of config.classifier for the {network}", name, legal))
    return kind(num_classes=num_classes, **frozen(fields))
