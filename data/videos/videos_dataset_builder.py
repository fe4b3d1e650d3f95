"""The door for ``tfds build data/videos``: the package's builder beside its README, citation and tags."""

from videogvt.inputs.videos import Videos


class Builder(Videos):
    """See ``videogvt.inputs.videos.Videos``."""
