"""The losses of tokenizer and transformers, each a pure function of arrays that returns an unweighted float32 scalar,
unless it says otherwise.

Sources: MAGVIT (arXiv 2212.05199) and its released code; R1 (1801.04406); LeCam (2104.03310); LFQ (2310.05737).
"""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from videogvt.core.registry import unknown_name

GAN_KINDS = ("non_saturating", "hinge")
GanKind = Literal["non_saturating", "hinge"]
EntropyKind = Literal["softmax", "argmax"]


# Reconstruction


def background_weights(video_BTHWC, background, strength: float):
    """Weights (B, T, H, W, 1) that draw a loss toward the pixels that differ from the background; ours, not MAGVIT's.

    A pixel weighs ``1 + strength * |pixel - background|``, the largest difference of its colours. The weights are not
    normalised, so that the background keeps weight 1.

    Args:
      video_BTHWC: the original, in [0, 1].
      background: number or colour that broadcasts against the video; 1 is white.
      strength: 0 gives weight 1 everywhere.
    """
    away_BTHWC = jnp.abs(video_BTHWC - background)
    # By hand: a reduction over an axis as short as the colours is many times dearer on CPUs.
    largest_BTHW = functools.reduce(jnp.maximum, (away_BTHWC[..., c] for c in range(away_BTHWC.shape[-1])))
    return 1 + strength * largest_BTHW[..., None]


def reconstruction(video_BTHWC, recon_BTHWC, *, background_weight: float = 0.0, background=1.0):
    """Mean squared error; with a weight, the mean of the squares times ``background_weights``."""
    squares = jnp.square(recon_BTHWC.astype(jnp.float32) - video_BTHWC)
    if background_weight:
        squares *= background_weights(video_BTHWC, background, background_weight)
    return squares.mean()


# Quantizers


def commitment(latents, codes_vectors):
    """Mean squared distance that pulls the encoder's latents toward their codes."""
    return jnp.square(jax.lax.stop_gradient(codes_vectors) - latents).mean()


def codebook(latents, codes_vectors):
    """Mean squared distance that pulls the codes toward the latents they stand for."""
    return jnp.square(codes_vectors - jax.lax.stop_gradient(latents)).mean()


def entropy(affinity_MK, *, temperature: float = 0.01, kind: EntropyKind = "softmax"):
    """Mean entropy of the assignments minus the entropy of their mean, in nats; from -ln K to 0, less is better.

    It makes every assignment confident and the use of codes even. Gradients reach both sides of the affinity.

    Args:
      affinity_MK: minus the squared distance of each of M latents to each of K codes, float32.
      temperature: of the softmax over codes.
      kind: targets are the soft assignments ("softmax"), or the nearest code with the gradient of the soft one
        ("argmax").
    """
    logits_MK = affinity_MK / temperature
    log_probs_MK = jax.nn.log_softmax(logits_MK)
    target_MK = probs_MK = jnp.exp(log_probs_MK)
    if kind == "argmax":
        nearest_MK = jax.nn.one_hot(logits_MK.argmax(-1), logits_MK.shape[-1], dtype=logits_MK.dtype)
        target_MK = probs_MK + jax.lax.stop_gradient(nearest_MK - probs_MK)
    elif kind != "softmax":
        raise ValueError(unknown_name("entropy kind", kind, ("softmax", "argmax")))
    sample = -(target_MK * log_probs_MK).sum(-1).mean()
    mean_K = target_MK.mean(0)
    return sample + (mean_K * jnp.log(mean_K + 1e-5)).sum()


def bits_entropy(latents_MD, *, temperature: float = 0.01):
    """``entropy`` for the codes {-1, 1}^D, exactly, without an M x 2^D table.

    A soft assignment is a product over bits, P(bit i) = sigmoid(4 z_i / temperature), so its entropy is a sum of D
    binary ones. The mean assignment is no product; but each assignment is the outer product of two over half of the
    bits, so the mean over all 2^D codes is one matrix product of two M x 2^(D/2) tables.
    """
    logits_MD = 4 / temperature * latents_MD
    on_MD, off_MD = jax.nn.sigmoid(logits_MD), jax.nn.sigmoid(-logits_MD)
    sample = -(on_MD * jax.nn.log_sigmoid(logits_MD) + off_MD * jax.nn.log_sigmoid(-logits_MD)).sum(-1).mean()
    half = latents_MD.shape[-1] // 2
    low = _outer_bits(off_MD[:, :half], on_MD[:, :half])
    high = _outer_bits(off_MD[:, half:], on_MD[:, half:])
    mean = jnp.matmul(high.T, low, precision=jax.lax.Precision.HIGHEST) / latents_MD.shape[0]
    tiny = jnp.finfo(mean.dtype).tiny  # the limit of p log p at 0 is 0
    return sample + (mean * jnp.log(jnp.maximum(mean, tiny))).sum()


def _outer_bits(off_MD, on_MD):
    """(M, 2^D) probabilities of all patterns of D independent bits, bit i counting 2^i."""
    patterns = jnp.ones((off_MD.shape[0], 1), off_MD.dtype)
    for bit in range(off_MD.shape[1]):
        patterns = jnp.concatenate([patterns * off_MD[:, bit:bit + 1], patterns * on_MD[:, bit:bit + 1]], -1)
    return patterns


# Adversarial


def discriminator_gan(real_logits, fake_logits, kind: GanKind = "non_saturating"):
    """What the discriminator minimises: logistic loss, or hinge loss, of telling real from generated clips."""
    if kind == "non_saturating":
        return jax.nn.softplus(-real_logits).mean() + jax.nn.softplus(fake_logits).mean()
    if kind == "hinge":
        return jax.nn.relu(1 - real_logits).mean() + jax.nn.relu(1 + fake_logits).mean()
    raise ValueError(unknown_name("GAN loss", kind, GAN_KINDS))


def generator_gan(fake_logits, kind: GanKind = "non_saturating"):
    """What the generator minimises, given the discriminator's logits of its clips."""
    if kind == "non_saturating":
        return jax.nn.softplus(-fake_logits).mean()
    if kind == "hinge":
        return -fake_logits.mean()
    raise ValueError(unknown_name("GAN loss", kind, GAN_KINDS))


def r1(discriminate: Callable, real_BTHWC):
    """Squared norm of the gradient of the logits at real clips: summed over a clip, averaged over clips, no 1/2.

    Args:
      discriminate: real_BTHWC to logits, one or more per clip, each of its own clip alone.

    Returns:
      (logits, penalty); MAGVIT weighs the penalty by 10.
    """

    def total(video_BTHWC):
        logits = discriminate(video_BTHWC)
        return logits.sum(), logits

    gradient_BTHWC, logits = jax.grad(total, has_aux=True)(real_BTHWC)
    return logits, jnp.square(gradient_BTHWC).sum((1, 2, 3, 4)).mean()


def lecam(real_logits, fake_logits, ema_real, ema_fake):
    """LeCam regularisation on batch means of logits, as released with MAGVIT.

    Args:
      real_logits, fake_logits: of the whole batch, all devices together; only their means count.
      ema_real, ema_fake: moving averages of these means up to the step before, 0 at the start, constants here.
    """
    above, below = real_logits.mean() - ema_fake, ema_real - fake_logits.mean()
    return jnp.square(jax.nn.relu(above)) + jnp.square(jax.nn.relu(below))


# Tokens


def token_cross_entropy(logits_BNK, targets_BN, *, label_smoothing: float = 0.0):
    """Cross-entropy of every token in nats, (B, N), over the classes of the last axis.

    Args:
      logits_BNK: what cannot be the answer is cut off, so that it takes no share.
      targets_BN: the answers, 0 to K - 1.
      label_smoothing: share of the target that is spread evenly over all K classes.
    """
    log_BNK = jax.nn.log_softmax(logits_BNK.astype(jnp.float32))
    answer_BN = jnp.take_along_axis(log_BNK, targets_BN[..., None], axis=-1)[..., 0]
    return -(1 - label_smoothing) * answer_BN - label_smoothing * log_BNK.mean(-1)


def weighted_mean(values_BN, weights_BN):
    """The mean of each row, (B,): the weighted sum over ``sum of weights + 1e-8``, as MAGVIT's code has it; 0 for a row
    without weight."""
    return (values_BN * weights_BN).sum(-1) / (weights_BN.sum(-1) + 1e-8)
