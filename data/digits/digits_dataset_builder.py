"""The door for ``tfds build data/digits``: the package's builder beside its README, citation and tags."""

from videogvt.inputs.digits import Digits


class Builder(Digits):
    """See ``videogvt.inputs.digits.Digits``."""
