"""What compiled programs know of a tokenizer that lies outside them: numbers. Anybody's codec is one; see ``codec``."""

import dataclasses
from typing import Any, NoReturn

REMEDY = ("Use a run of our own here, an exported folder or a tokenizer that ships, or leave out what asks for it; "
          "docs/tokens.md lists what codes alone are enough for.")
ASKED = {
    "codes": "asks it for codes of videos (evals.generation)",
    "video": "asks it for videos (evals.generation)",
    "features": "asks it for vectors of its codes (transformer.codebook_embeddings)",
    "embed": "asks it for vectors of its codes (examples.input = 'latents')",
}


@dataclasses.dataclass(frozen=True)
class Outside:
    """Stands where a stage expects the network of a tokenizer, and answers nothing but what it is.

    Attributes:
      strides: frames, rows and columns of a video per code.
      num_codes: codes are 0 to ``num_codes - 1``.
      lead: frames that have a frame of codes each, before those that the first stride divides: 1 of causal networks.
    """

    strides: tuple[int, int, int]
    num_codes: int
    lead: int = 0

    local = False  # as far as anybody here knows

    def latent_shape(self, video_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(t, h, w) of the codes of clips (T, H, W).

        Raises:
          ValueError: a side is no multiple of its stride.
        """
        leads = self.lead, 0, 0
        if any((side - lead) % stride or side < 1 for side, stride, lead in zip(video_shape, self.strides, leads)):
            raise ValueError(f"Clips of (T, H, W) = {tuple(video_shape)} do not fit a tokenizer of strides "
                             f"{self.strides}{', after a first frame' * self.lead}; every side is a multiple of its "
                             "stride.")
        return tuple((side - lead) // stride + lead for side, stride, lead in zip(video_shape, self.strides, leads))

    @property
    def feature_width(self) -> NoReturn:
        self.apply({}, method="features")

    def apply(self, variables: Any, *inputs: Any, method: str) -> NoReturn:
        """Always an error, which says what was wanted and what to do."""
        raise ValueError(f"These codes are made outside the compiled program, and the config {ASKED[method]}. {REMEDY}")
