"""The door for ``tfds build data/trajectories``: the package's builder beside its README, citation and tags."""

from videogvt.inputs.builders import Trajectories


class Builder(Trajectories):
    """See ``videogvt.inputs.builders.Trajectories``."""
