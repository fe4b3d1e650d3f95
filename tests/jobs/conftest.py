"""The run of a small tokenizer, which tests of trained networks share."""

from tests.pretrained.conftest import workdir  # noqa: F401
