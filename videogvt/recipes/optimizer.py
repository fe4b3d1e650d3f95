"""The optimizer of all recipes: Adam, or Muon and Adam, with warm-up and a half cosine, from optax."""

import dataclasses

import jax
import optax

from videogvt.recipes.muon import scale_by_muon


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
      muon: ours, False in the paper: parameters named "kernel" take orthogonalised momentum (Muon, K. Jordan 2024)
        in place of Adam's step, scaled to a root mean square of one like Adam's first step, so that one rate does
        for both.
      adam_learning_rate: with ``muon`` the peak for all other parameters (tables, norms, biases); None for the same.
      accumulate: parts of the batch whose gradients are taken one after the other and averaged; see ``accumulation``.
    """

    learning_rate: float
    total_steps: int
    warmup_steps: int = 0
    b1: float = 0.0
    b2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    muon: bool = False
    adam_learning_rate: float | None = None
    accumulate: int = 1

    def __post_init__(self):
        if self.accumulate < 1:
            raise ValueError(f"optimizer.accumulate is {self.accumulate}; expected the number of parts, at least 1.")
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"optimizer.warmup_steps is {self.warmup_steps} and the run has {self.total_steps} steps; "
                "expected at least 0 and fewer than all. Lower the warm-up or train longer."
            )
        for name in ("learning_rate", "adam_learning_rate"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"optimizer.{name} is {getattr(self, name)}; expected a positive number.")
        if self.adam_learning_rate is not None and not self.muon:
            raise ValueError(f"optimizer.adam_learning_rate is {self.adam_learning_rate} and optimizer.muon is False: "
                             "Adam has all parameters, at learning_rate. Set muon, or take adam_learning_rate away.")

    def schedule(self, peak: float | None = None) -> optax.Schedule:
        """The learning rate by step; with another peak than ``learning_rate`` where one is given."""
        return optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate if peak is None else peak, self.warmup_steps, decay_steps=self.total_steps,
            end_value=0.0
        )

    def rate(self, step: int, total_steps: int) -> float:
        """The learning rate at a step, had the run so many steps in all."""
        return float(dataclasses.replace(self, total_steps=total_steps).schedule()(step))

    def transformation(self) -> optax.GradientTransformation:
        """Clipping, Adam (or Muon), decay and the schedule, in this order."""
        parts = [optax.clip_by_global_norm(self.clip_norm)] if self.clip_norm is not None else []
        if self.muon:
            return optax.chain(*parts, self._muon())
        parts.append(optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps))
        if self.weight_decay:
            parts.append(optax.add_decayed_weights(self.weight_decay, mask=_kernels))
        return optax.chain(*parts, optax.scale_by_learning_rate(self.schedule()))

    def _muon(self) -> optax.GradientTransformation:
        """The parts, and so the state, of ``optax.contrib.muon``."""
        kernels = optax.chain(
            scale_by_muon(_inputs), optax.identity(), optax.add_decayed_weights(self.weight_decay, mask=_kernels),
            optax.scale_by_learning_rate(self.schedule()))
        others = optax.adamw(self.schedule(self.adam_learning_rate), b1=self.b1, b2=self.b2, eps=self.eps,
                             weight_decay=0.0, nesterov=True)
        return optax.partition({"muon": kernels, "adam": others}, _labels)


def _labels(params):
    """"muon" for kernels of linear maps, "adam" for all else."""

    def label(path, leaf):
        return "muon" if path[-1].key == "kernel" and leaf.ndim >= 2 else "adam"

    return jax.tree_util.tree_map_with_path(label, params)


def _inputs(path, leaf) -> int:
    """How many of a kernel's first axes are inputs of the linear map that it is."""
    heads = len(path) > 1 and path[-2].key in ("query", "key", "value")  # (width, heads, width of a head)
    return 1 if heads else leaf.ndim - 1


def _kernels(params):
    """True for the leaves named "kernel"."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
