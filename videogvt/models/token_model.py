"""What token models have in common: a tokenizer, a vocabulary, tasks and a transformer of its codes.

A tokenizer may lie outside compiled programs, which then know numbers alone of it. Anybody's codec is one; see
``pretrained.codec``.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from videogvt.core.registry import check_keys, configure
from videogvt.models.tasks import TaskTable
from videogvt.models.vocabulary import Vocabulary
from videogvt.nn.lm import CausalTransformer
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer
from videogvt.ops.video import as_float

_REMEDY = ("Use a run of our own here, an exported folder or a tokenizer that ships, or leave out what asks for it; "
          "docs/tokens.md lists what codes alone are enough for.")
_ASKED = {
    "codes": "asks it for codes of videos (evals.generation)",
    "video": "asks it for videos (evals.generation)",
    "features": "asks it for vectors of its codes (transformer.codebook_embeddings)",
    "embed": "asks it for vectors of its codes (examples.input = 'latents')",
}


@dataclasses.dataclass(frozen=True)
class Outside:
    """Stands where a token model expects the network of a tokenizer, and answers nothing but what it is.

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
        raise ValueError(
            f"These codes are made outside the compiled program, and the config {_ASKED[method]}. {_REMEDY}")


@dataclasses.dataclass(frozen=True)
class TokenModel:
    """What both token models have in common: they say codes of clips.

    Attributes:
      tokenizer: the tokenizer's network; where it lies outside, numbers alone. Clips are then codes, going in and
        coming out, and so are the conditions of tasks.
      vocabulary: what the transformer's tokens mean.
      tasks: which it is trained on, for clips of one shape.
      transformer: the network.
    """

    tokenizer: TokenizerNetwork | Outside
    vocabulary: Vocabulary
    tasks: TaskTable
    transformer: MaskedTransformer | CausalTransformer

    @property
    def video_shape(self) -> tuple[int, int, int]:
        """(T, H, W) of the clips."""
        return self.tasks.visible_nTHW.shape[1:]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(t, h, w) of their codes."""
        return self.tasks.visible_nthw.shape[1:]

    @property
    def num_tokens(self) -> int:
        """N = t h w."""
        t, h, w = self.latent_shape
        return t * h * w

    @property
    def outside(self) -> bool:
        """Whether nothing in here can make codes of videos, nor videos of codes."""
        return isinstance(self.tokenizer, Outside)

    def tokens(self, tokenizer_params, batch: Mapping[str, jax.Array], task_B) -> tuple[jax.Array, jax.Array]:
        """The codes of a batch's clips and of their padded conditions, both (B, t, h, w).

        Args:
          tokenizer_params: weights of the tokenizer.
          batch: has ``video`` (B,T,H,W,3), uint8 or float in [0, 1], or its ``codes``. Where tasks are given pixels it
            has the video in any case, or, of a tokenizer outside, the ``conditions`` (B, n, t, h, w) of all n tasks.
          task_B: numbers of tasks.
        """
        codes_Bthw = batch["codes"] if "codes" in batch else self.codes(tokenizer_params, batch["video"])
        if "conditions" in batch:
            return codes_Bthw, batch["conditions"][jnp.arange(len(task_B)), task_B]
        return codes_Bthw, self.condition(tokenizer_params, batch.get("video"), task_B, codes_Bthw)

    def condition(self, tokenizer_params, video_BTHWC, task_B, codes_Bthw=None) -> jax.Array:
        """The codes (B, t, h, w) of the padded conditions of clips, of which only the given pixels count.

        Args:
          tokenizer_params: weights of the tokenizer.
          video_BTHWC: the clips; None where no task is given pixels.
          task_B: numbers of tasks.
          codes_Bthw: of the whole clips, where they are known. A code that is of its own cell alone is the same in the
            padded clip if its cell is given whole, so that nothing need be encoded.
        """
        if not self.tasks.needs_condition:
            return jnp.zeros((len(task_B), *self.latent_shape), jnp.int32)

        def padded():
            return self.codes(tokenizer_params, self.tasks.condition_video(as_float(video_BTHWC), task_B))

        if codes_Bthw is None or not self.tokenizer.local:
            return padded()
        given = lambda: jnp.where(self.tasks.visible(task_B), codes_Bthw, 0).astype(jnp.int32)  # noqa: E731
        return jax.lax.cond(jnp.asarray(self.tasks.in_part_n)[task_B].any(), padded, given)

    def codes(self, tokenizer_params, video_BTHWC) -> jax.Array:
        """The codes (B, t, h, w) of clips, uint8 or float in [0, 1]."""
        return self.tokenizer.apply({"params": tokenizer_params}, as_float(video_BTHWC), method="codes")

    def codebook(self, tokenizer_params) -> jax.Array | None:
        """The ``features`` (K, C) of the codes, float32, for a network that is told them; None for others."""
        if not self.transformer.codebook_embeddings:
            return None
        codes_K111 = jnp.arange(self.vocabulary.num_codes)[:, None, None, None]
        vectors = self.tokenizer.apply({"params": tokenizer_params}, codes_K111, method="features")
        return vectors.astype(jnp.float32).reshape(self.vocabulary.num_codes, -1)

    def blank_codebook(self) -> jax.Array | None:
        """Zeros in the shape of ``codebook``, for shapes alone."""
        if not self.transformer.codebook_embeddings:
            return None
        return jnp.zeros((self.vocabulary.num_codes, self.tokenizer.feature_width))

    def video(self, tokenizer_params, codes_Bthw) -> jax.Array:
        """The clips (B, T, H, W, 3), float32 in [0, 1], of codes."""
        return self.tokenizer.apply({"params": tokenizer_params}, codes_Bthw, method="video")

    def shown(self, tokenizer_params, codes_BN) -> dict[str, jax.Array]:
        """Finished codes as "codes" (B, t, h, w), and as "video" where that can be made here."""
        codes_Bthw = codes_BN.reshape(-1, *self.latent_shape)
        made = {} if self.outside else {"video": self.video(tokenizer_params, codes_Bthw)}
        return made | {"codes": codes_Bthw}


def vocabulary_and_tasks(
    config: Mapping[str, Any], tokenizer: TokenizerNetwork | Outside, video_shape: tuple[int, int, int],
    num_classes: int,
) -> tuple[Vocabulary, TaskTable]:
    """What the section ``tasks`` describes; arguments as in ``masked_generation``.

    Its ``classless`` is not for configs: it says of others' weights whether their vocabulary has an unconditional
    class.
    """
    section = dict(config["tasks"])
    names = ("names", "weights", "rule", "released_prefix", "background", "mixing", "multitask", "classless")
    check_keys("tasks", section, names)
    multitask, classless = section.pop("multitask", len(section["names"]) > 1), section.pop("classless", True)
    vocabulary = Vocabulary(tokenizer.num_codes, num_classes, multitask, classless)
    return vocabulary, configure(
        TaskTable.build, "tasks", section, video_shape=tuple(video_shape),
        latent_shape=tokenizer.latent_shape(video_shape), vocabulary=vocabulary, lead=tokenizer.lead,
    )
