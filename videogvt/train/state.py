"""What a run carries from step to step."""

from typing import Any

import flax.struct
import jax

SAVED_FIELDS = ("step", "params", "opt", "ema", "model_state", "extra")
"""The fields of a ``TrainState`` that a checkpoint holds; ``frozen`` is not among them."""


@flax.struct.dataclass
class TrainState:
    """Everything a step reads and writes. Every field but ``step`` is a dict by network name ("generator", ...).

    A network needs no entry in a field it has no use for: a discriminator without moving averages has none in ``ema``.

    Attributes:
      step: int32 scalar, the number of updates made; the loop counts it, a recipe only reads it.
      params: trainable parameters.
      opt: optimizer states; a leaf that repeats a parameter's path and shape is sharded like that parameter.
      ema: moving averages of ``params``, with the same trees.
      model_state: batch statistics and the like.
      extra: small arrays a recipe keeps (means of LeCam, code usage).
      frozen: parameters in use and never trained (a tokenizer, a perceptual network). They reach the step as an
        argument of their own, are never donated and never saved: their hash stands in the checkpoint's metadata.
    """

    step: jax.Array
    params: dict[str, Any]
    opt: dict[str, Any]
    ema: dict[str, Any]
    model_state: dict[str, Any]
    extra: dict[str, Any]
    frozen: dict[str, Any]

    @classmethod
    def create(cls, *, params, opt, ema=None, model_state=None, extra=None) -> "TrainState":
        """A state at step 0; what is not given is empty. The loop fills in ``frozen`` from the recipe."""
        return cls(
            step=jax.numpy.zeros((), jax.numpy.int32), params=params, opt=opt, ema=ema or {},
            model_state=model_state or {}, extra=extra or {}, frozen={},
        )
