"""Weights that other people trained, for networks of this package: ``SCHEME:FILE`` wherever a run may be named.

    VideoTokenizer.load("maskgit:tokenizer_imagenet256_checkpoint")
    --config.init_from.workdir=maskgit:tokenizer_imagenet256_checkpoint

Every scheme is a module here, with those of three functions that it has a use for:

    networks(path, weights)     dict of parameters by network name ("generator", "transformer", ...), to start a run at
    tokenizer(path, weights)    a ``StoredTokenizer``
    generator(path, weights)    a ``StoredGenerator``

``weights`` is "ema" or "params"; a file that has one set gives it for both. What a loader does not know by name and
shape it refuses: nothing is left out, nothing is made up, and no code in a file is run.
"""

import importlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LOADERS = {
    "magvit": "videogvt.pretrained.compat.magvit",
    "maskgit": "videogvt.pretrained.compat.maskgit",
    "open_magvit2": "videogvt.pretrained.compat.open_magvit2",
}
"""Schemes, and the modules that read their files."""


class StoredTokenizer(NamedTuple):
    """A tokenizer as it was read.

    Attributes:
      config: fields of ``nn.tokenizer.TokenizerNetwork``, plain values.
      params: its parameters, a tree of float32 NumPy arrays.
      window: frames that are seen at once; None for the usual number.
      data: the section ``data`` of a config that says what it was trained on; None where nobody knows.
    """

    config: Mapping[str, Any]
    params: Mapping[str, Any]
    window: int | None = None
    data: Mapping[str, Any] | None = None


class StoredGenerator(NamedTuple):
    """A transformer as it was read.

    Attributes:
      config: sections of a run's config that its generation is made of: ``recipe``, ``transformer``, ``tasks``, ...
      params: the transformer's parameters, a tree of float32 NumPy arrays.
      tokenizer: the source of the tokenizer it goes with; None where the file does not tell.
      class_names: by label.
      grid: (t, h, w) of its codes.
      num_codes: K, of the tokenizer it goes with.
    """

    config: Mapping[str, Any]
    params: Mapping[str, Any]
    tokenizer: str | None
    class_names: Sequence[str]
    grid: tuple[int, int, int]
    num_codes: int


class Foreign(NamedTuple):
    """A source that names a file of others: the scheme, and where the file is."""

    scheme: str
    path: pathlib.Path

    def read(self, what: str, weights: str = "ema") -> Any:
        """What one of the module's functions, "networks", "tokenizer" or "generator", makes of the file.

        Raises:
          FileNotFoundError: there is no such file; the message says which one is asked for, and where it comes from.
          ValueError: it has no such thing, or is not what it should be.
        """
        if weights not in ("ema", "params"):
            raise ValueError(f"Parameters {weights!r}; expected 'ema' or 'params'.")
        function = getattr(importlib.import_module(LOADERS[self.scheme]), what, None)
        if function is None:
            raise ValueError(f"{self.scheme}:{self.path} cannot be loaded as {what}: files of {self.scheme} hold none.")
        return function(self.path, weights)


def foreign(source: str | os.PathLike, step: int | str = "best") -> Foreign | None:
    """What ``SCHEME:FILE`` names; None for other sources, and where a directory has this very name.

    Raises:
      ValueError: it names a file, which is of one step, and another ``step`` than "best" is asked for.
    """
    scheme, colon, path = os.fspath(source).partition(":")
    if not colon or scheme not in LOADERS or pathlib.Path(source).is_dir():
        return None
    if step != "best":
        raise ValueError(f"step is {step!r}, and {source} is a file of one step; leave it at 'best'.")
    return Foreign(scheme, pathlib.Path(path).expanduser())


def short_name(source: str) -> str:
    """A name for a folder of what comes of a source: the file's own where it is one of others, else the source."""
    theirs = foreign(source)
    return theirs.path.name if theirs else source
