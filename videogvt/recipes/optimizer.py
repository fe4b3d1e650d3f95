"""Optimizers of all recipes: Adam with warm-up and a half cosine, from optax."""

import dataclasses

import jax
import optax


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam or AdamW under ``base * min(1, s / warmup) * 0.5 (1 + cos(pi (s - warmup) / (total - warmup)))``.

    The paper's tokenizer uses betas (0, 0.99), no weight decay, no clipping and one epoch of warm-up (supplement,
    implementation details). The rate is 0 at step 0, ``learning_rate`` at the end of the warm-up, 0 at the end.

    Attributes:
      learning_rate: the peak.
      total_steps: updates in all; the rate stays at 0 past them.
      warmup_steps: updates of linear warm-up; fewer than ``total_steps``.
      b1, b2, eps: of Adam.
      weight_decay: decoupled, on the parameters named "kernel" only.
      clip_norm: bound on the global norm of the gradient; None for none.
    """

    learning_rate: float
    total_steps: int
    warmup_steps: int = 0
    b1: float = 0.0
    b2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self):
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"optimizer.warmup_steps is {self.warmup_steps} and the run has {self.total_steps} steps; "
                "expected at least 0 and fewer than all. Lower the warm-up or train longer."
            )
        if self.learning_rate <= 0:
            raise ValueError(f"optimizer.learning_rate is {self.learning_rate}; expected a positive number.")

    def schedule(self) -> optax.Schedule:
        """The learning rate by step."""
        return optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, self.warmup_steps, decay_steps=self.total_steps, end_value=0.0
        )

    def transformation(self) -> optax.GradientTransformation:
        """Clipping, Adam, decay and the schedule, in this order."""
        parts = [optax.clip_by_global_norm(self.clip_norm)] if self.clip_norm is not None else []
        parts.append(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps))
        if self.weight_decay:
            parts.append(optax.add_decayed_weights(self.weight_decay, mask=_kernels))
        return optax.chain(*parts, optax.scale_by_learning_rate(self.schedule()))


def _kernels(params):
    """True for the leaves named "kernel"."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
