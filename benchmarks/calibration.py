"""Does a masked transformer know what its sampler asks: how sure is it that a hidden cell of a frame shows something?

    python benchmarks/calibration.py --workdir=maskgvt64_8x4x4 [--clips=48] [--hidden=1,4,8,16] [--split=validation]
        [--data_dir=DIR]

Of real clips one frame of codes after another is shown as a sampler of frames meets it that has found nothing yet: all
frames before it, and of its own codes empty ones alone. Those that say something are hidden, with empty ones up to the
number asked for. Printed is the mean over clips of 1 - product of (1 - P(cell says something)), the chance that cells
drawn at once come to. If every frame of the data shows something it is 1 where no empty cell is hidden; what is less
there is how often the sampler loses the object. With more cells, which are drawn each for itself, it may be less.
"""

import argparse
from collections.abc import Sequence

from videogvt.core.backend import prepare_backend

prepare_backend()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from videogvt import VideoGenerator  # noqa: E402
from videogvt.jobs.experiment import open_without_more_clips  # noqa: E402
from videogvt.models.generation import MaskedGeneration  # noqa: E402


def hidden_cells(speaks_BtM: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """The cells (B, t, M) that are hidden: all that say something, and empty ones up to ``count`` in a frame."""
    order_BtM = np.random.default_rng(seed).random(speaks_BtM.shape) - speaks_BtM
    place_BtM = order_BtM.argsort(-1).argsort(-1)
    return place_BtM < np.maximum(count, speaks_BtM.sum(-1, keepdims=True))


def chance(logits_BtMK: np.ndarray, hidden_BtM: np.ndarray, empty: int) -> np.ndarray:
    """The chance (B, t) that some hidden cell, each drawn for itself, says something."""
    empty_BtM = np.asarray(jax.nn.softmax(logits_BtMK, axis=-1))[..., empty]
    return 1 - np.where(hidden_BtM, empty_BtM, 1.0).prod(-1)


def measured(generator: VideoGenerator, video_BTHWC: np.ndarray, label_B: np.ndarray,
             counts: Sequence[int]) -> dict[int, np.ndarray]:
    """By the number of hidden cells of a frame, the chance for each frame of codes, (t,), in the mean over clips."""
    generation, tokenizer_params = generator.generation, generator.tokenizer.params
    alone = [place for place, shown_THW in enumerate(generation.tasks.visible_nTHW) if not shown_THW.any()]
    if not alone:
        raise SystemExit(f"{generator} has no task that generates clips of a class alone, such as CG.")
    codes_Bthw = np.asarray(jax.jit(generation.codes)(tokenizer_params, video_BTHWC))
    codes_BtM = codes_Bthw.reshape(*codes_Bthw.shape[:2], -1)
    empty = int(np.bincount(codes_BtM.ravel()).argmax())
    flat = lambda rows_BtM: jnp.asarray(rows_BtM).reshape(len(rows_BtM), -1)  # noqa: E731
    taught = {"taught_BN": flat(codes_BtM)} if generation.transformer.causal_frames else {}

    @jax.jit
    def logits(params, tokenizer_params, tokens_BN):
        prefix_BP = generation.tasks.prefix(jnp.full(len(tokens_BN), alone[0]), jnp.asarray(label_B))
        return generation.logits(params, tokens_BN, prefix_BP, jnp.zeros(tokens_BN.shape, bool),
                                 codebook_KC=generation.codebook(tokenizer_params), **taught)

    found = {}
    for count in counts:
        hidden_BtM = hidden_cells(codes_BtM != empty, count)
        tokens_BtM = np.where(hidden_BtM, generation.vocabulary.mask, codes_BtM)
        logits_BNK = logits(generator.params, tokenizer_params, flat(tokens_BtM))
        found[count] = chance(logits_BNK.reshape(*codes_BtM.shape, -1), hidden_BtM, empty).mean(axis=0)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--hidden", default="1,4,8,16", help="numbers of cells of a frame, with commas")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--data_dir")
    flags = parser.parse_args(arguments)
    if not all(number.isdecimal() and int(number) for number in flags.hidden.split(",")):
        parser.error(f"found --hidden={flags.hidden}; expected numbers from 1 on, with commas, such as 1,4,8")
    generator = VideoGenerator.load(flags.workdir, data_dir=flags.data_dir)
    if not isinstance(generator.generation, MaskedGeneration) or generator.generation.outside:
        raise SystemExit(f"{flags.workdir} draws its codes one after another, or its tokenizer lies outside; expected "
                         "a masked transformer on codes of a tokenizer of this package.")
    source = open_without_more_clips(generator.config, flags.split, ("video", "label"), flags.data_dir)
    rows = source.read(list(range(min(flags.clips, len(source)))))
    print(f"{len(rows['label'])} clips of {flags.split}; by frame, the chance that a hidden cell says something")
    for count, chance_t in measured(generator, rows["video"], rows["label"], map(int, flags.hidden.split(","))).items():
        print(f"{count:4d} hidden: " + " ".join(f"{value:.3f}" for value in chance_t))


if __name__ == "__main__":
    main()
