"""MAGVIT on one page: 64 clips, a tokenizer, a masked transformer, and clips of every class from noise.

    python examples/minimal.py                        # about a minute on a core; writes minimal.gif
    python examples/minimal.py --steps=2              # a look at how it fits together

It is what ``run.py`` does, with everything left out that a run needs and the method does not: configs, data sets on
disk, checkpoints, several devices, evaluations, a discriminator, tasks other than generation by class. The networks,
losses, masks and decoding are those of the package. 64 clips are far too few to learn what a trajectory is: look at
the losses, and read the file from top to bottom.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.core import FrozenDict

from videogvt.decode import ParallelDecoding
from videogvt.models.vocabulary import Vocabulary
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.nn.transformer import MaskedTransformer
from videogvt.ops.losses import reconstruction, token_cross_entropy, weighted_mean
from videogvt.ops.masking import Masking
from videogvt.pretrained.clips import write_clip
from videogvt.world.example import example
from videogvt.world.spec import SPECS

CLIPS, BATCH = 64, 16
WORLD = SPECS["tiny"].with_train(CLIPS)  # 8 frames of 32 x 32 pixels, five families of motion

# Stage 1. Codes of 2 x 8 x 8 pixels each: 4 x 4 x 4 of them for a clip, out of 64.
TOKENIZER = TokenizerNetwork(
    conv="split", padding="zero", stem=(2, 8, 8), filters=32, channel_multipliers=(1,), temporal_downsample=(),
    encoder_blocks=(1, 0), decoder_blocks=(1, 0), norm_groups=4,
    input_bias=1.0, input_scale=2.0, output_bias=1.0, output_scale=0.1,  # about white, the background
    quantizer=FrozenDict(name="vq", num_codes=64, embedding_dim=16, latent_normalize=True, entropy_weight=0.01),
)
GRID = TOKENIZER.latent_shape((WORLD.num_frames, WORLD.height, WORLD.width))
N = int(np.prod(GRID))

# Stage 2. A BERT over [class, 64 codes]; its tokens are the codes, the classes, "no class" and MASK.
VOCABULARY = Vocabulary(TOKENIZER.num_codes, len(WORLD.families))
TRANSFORMER = MaskedTransformer(
    VOCABULARY.size, VOCABULARY.prefix_length + N, layers=2, hidden=64, heads=4, mlp=256, dropout=0.0,
    attention_dropout=0.0)
MASKING = Masking()  # COMMIT: a share of cos(pi / 2 u) of the codes is hidden, u uniform for each clip
DECODING = ParallelDecoding(steps=12)  # the surest codes first, with noise
ADAM = optax.adam(3e-3)


def clips() -> tuple[np.ndarray, np.ndarray]:
    """Videos (64, 8, 32, 32, 3) in [0, 1] and classes (64,): pure functions of the number of a clip."""
    made = [example(WORLD, "train", index) for index in range(CLIPS)]
    return np.stack([clip["video"] for clip in made]) / np.float32(255), np.stack([clip["label"] for clip in made])


@jax.jit
def tokenizer_step(params, opt, video_BTHWC):
    """Reconstructs: the squared error, and the quantizer's commitment, codebook and entropy losses."""

    def loss_of(params):
        recon_BTHWC, quantized = TOKENIZER.apply({"params": params}, video_BTHWC, train=True)
        return reconstruction(video_BTHWC, recon_BTHWC, background_weight=4.0) + sum(quantized.losses.values())

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, opt = ADAM.update(grads, opt)
    return optax.apply_updates(params, updates), opt, loss


def logits(params, tokens_BN, label_B):
    """What the transformer says of every code, (B, N, K), of codes and MASK after the clip's class."""
    tokens_BL = jnp.concatenate([VOCABULARY.label(label_B)[:, None], tokens_BN], axis=1)
    return TRANSFORMER.apply({"params": params}, tokens_BL, start=1, ids=TOKENIZER.num_codes)


@jax.jit
def transformer_step(params, opt, codes_Bthw, label_B, key):
    """Hides codes and asks for all of them, the hidden and the shown ones, as the paper does."""
    nothing_Bthw = jnp.zeros(codes_Bthw.shape, bool)  # no pixels are given; the condition's codes count for nothing
    masked = MASKING.sample(key, codes_Bthw, codes_Bthw, nothing_Bthw, VOCABULARY.mask)

    def loss_of(params):
        entropy_BN = token_cross_entropy(logits(params, masked.inputs_BN, label_B), masked.targets_BN)
        return weighted_mean(entropy_BN, masked.weights_BN).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    updates, opt = ADAM.update(grads, opt)
    return optax.apply_updates(params, updates), opt, loss


@jax.jit
def generate(params, tokenizer_params, label_B, key):
    """Codes (B, t, h, w) and videos (B, T, H, W, 3) in [0, 1] of these classes, in 12 passes from all MASK."""
    empty_BN = jnp.zeros((len(label_B), N), jnp.int32)
    decoded = DECODING(
        lambda tokens_BN: logits(params, tokens_BN, label_B), empty_BN, empty_BN.astype(bool),
        mask_id=VOCABULARY.mask, num_codes=TOKENIZER.num_codes, keys_B=jax.random.split(key, len(label_B)))
    codes_Bthw = decoded.codes_BN.reshape(-1, *GRID)
    return codes_Bthw, TOKENIZER.apply({"params": tokenizer_params}, codes_Bthw, method="video")


def train(name: str, step, params, batches, steps: int):
    """Parameters after so many steps, and the losses."""
    opt, losses, start = ADAM.init(params), [], time.monotonic()
    for index in range(steps):
        params, opt, loss = step(params, opt, *batches(index))
        losses.append(float(loss))
        if index % max(1, steps // 5) == 0 or index == steps - 1:
            print(f"{name} step {index}: loss {losses[-1]:.4f}, {time.monotonic() - start:.0f} s")
    return params, losses


def main(steps: int = 600, output: str | None = None):
    """Trains both stages for so many steps each; the losses of both and a video of each class."""
    videos, labels = clips()
    keys = iter(jax.random.split(jax.random.key(0), 4))
    rows = lambda index: np.random.default_rng(index).permutation(CLIPS)[:BATCH]  # noqa: E731

    params = jax.jit(TOKENIZER.init)(next(keys), videos[:1])["params"]
    tokenizer_params, first = train("tokenizer", tokenizer_step, params, lambda index: (videos[rows(index)],), steps)
    codes = jax.jit(functools.partial(TOKENIZER.apply, method="codes"))({"params": tokenizer_params}, videos)
    print(f"{len(np.unique(codes))} of {TOKENIZER.num_codes} codes are used")

    params = jax.jit(TRANSFORMER.init)(next(keys), jnp.zeros((1, TRANSFORMER.sequence_length), jnp.int32))["params"]
    key = next(keys)
    params, second = train(
        "transformer", transformer_step, params,
        lambda index: (codes[rows(index)], labels[rows(index)], jax.random.fold_in(key, index)), steps)
    made = np.asarray(generate(params, tokenizer_params, jnp.arange(len(WORLD.families)), next(keys))[1])
    if output:
        write_clip(output, np.concatenate(list(made), axis=2), fps=WORLD.fps, scale=4)
        print(f"{', '.join(WORLD.families)}: {output}")
    return first, second, made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600, help="of each stage")
    parser.add_argument("--output", default="minimal.gif", help="a GIF with a clip of each class, side by side")
    main(**vars(parser.parse_args()))
