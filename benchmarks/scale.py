"""The figures that docs/scale.md reckons with.

    python benchmarks/scale.py [--networks=default,B,...] [--clips=2000] [--codes=10000] [--indices=10000000]
        [--output=FILE.json]

The first table is counted, not timed: what one clip costs in the paper's networks and in the default one, from the
shapes of their products alone (``train.timing.count_flops``). The second writes ``--clips`` clips of `mono64` and of
`mono128`, and ``--codes`` random grids of the shape of B's, to a temporary folder and gives the bytes of a clip in the
files, of its record, of the packed video in it and of what it is in memory. The third is timed, and wants a quiet
machine: reading them in batches of 64 through the training pipeline, and drawing the order of ``--indices`` clips as
the pipeline does at the beginning of an epoch. Medians of three, with the fastest and the slowest.
"""

import argparse
import functools
import json
import pathlib
import runpy
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from videogvt.core.backend import prepare_backend

prepare_backend()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import reading  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402

from videogvt.core.registry import configure  # noqa: E402
from videogvt.core.trees import frozen, parameter_count  # noqa: E402
from videogvt.inputs.datasets import write_dataset  # noqa: E402
from videogvt.inputs.pipeline import shuffled  # noqa: E402
from videogvt.inputs.shards import ZLIB_LEVEL  # noqa: E402
from videogvt.inputs.sources import ArraySource, RecordSource  # noqa: E402
from videogvt.inputs.worlds import WorldConfig  # noqa: E402
from videogvt.models.vocabulary import Vocabulary  # noqa: E402
from videogvt.nn.tokenizer import TokenizerNetwork  # noqa: E402
from videogvt.nn.transformer import MaskedTransformer  # noqa: E402
from videogvt.pretrained import codes as coded  # noqa: E402
from videogvt.report.grids import as_text  # noqa: E402
from videogvt.train.journal import environment  # noqa: E402
from videogvt.train.timing import Timing, alternate, count_flops  # noqa: E402
from videogvt.world.example import example  # noqa: E402
from videogvt.world.spec import SPECS  # noqa: E402

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
VARIANTS = ("default", "B", "L")
WORLDS = ("mono64", "mono128")
GRID = (4, 16, 16)  # of the codes of a clip of tokenizer B
REPEATS, BATCH, THREADS = 3, 64, 2
Row = dict[str, Any]


def config(file: str, variant: str) -> dict[str, Any]:
    """A shipped config as plain values."""
    return runpy.run_path(str(CONFIGS / f"{file}.py"))["get_config"](variant).to_dict()


def tokenizer(variant: str) -> Row:
    """The cost of one clip in the tokenizer of a variant of ``vqvae_traj``."""
    settings = config("vqvae_traj", variant)
    spec = SPECS[settings["data"]["options"]["config"]]
    model = configure(TokenizerNetwork, "tokenizer", frozen(settings["tokenizer"]))
    clip = (spec.num_frames, spec.height, spec.width)
    video_BTHWC = jax.ShapeDtypeStruct((1, *clip, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), video_BTHWC)["params"]
    forward, encode = (
        count_flops(lambda params, video, method=method: model.apply({"params": params}, video, method=method),
                    params, video_BTHWC) for method in ("__call__", "encode"))
    return {"name": f"tokenizer {variant}", "clip": clip, "grid": model.latent_shape(clip),
            "tokens": int(np.prod(model.latent_shape(clip))), "features": model.feature_width,
            "parameters": parameter_count(params), "gflop": forward / 1e9, "gflop_encode": encode / 1e9}


def transformer(variant: str, grid: tuple[int, int, int], features: int, classes: int = 5) -> Row:
    """The cost of one clip in the transformer of a variant of ``maskgvt_traj``: a grid of codes, and its class; it may
    be told so many features of every code."""
    vocabulary = Vocabulary(1024, classes)
    model = configure(
        MaskedTransformer, "transformer", frozen(config("maskgvt_traj", variant)["transformer"]),
        vocab_size=vocabulary.size, sequence_length=int(np.prod(grid)) + vocabulary.prefix_length, grid=grid)
    tokens_BL = jax.ShapeDtypeStruct((1, model.sequence_length), jnp.int32)
    codebook_KC = jnp.zeros((vocabulary.num_codes, features))
    init = functools.partial(model.init, codebook_KC=codebook_KC)
    params = jax.eval_shape(init, jax.random.key(0), tokens_BL)["params"]
    forward = count_flops(
        lambda params, tokens: model.apply({"params": params}, tokens, codebook_KC=codebook_KC), params, tokens_BL)
    return {"name": f"transformer {variant}", "tokens": model.sequence_length, "parameters": parameter_count(params),
            "gflop": forward / 1e9}


def costs(variants: Sequence[str]) -> Iterator[Row]:
    """A row for tokenizer and transformer of every variant; the transformer reads what the tokenizer writes."""
    for variant in variants:
        row = tokenizer(variant)
        yield row
        yield transformer(variant, row["grid"], row["features"])


def random_codes(index: int) -> dict[str, Any]:
    """A record as ``pretrained.codes`` writes it, of codes that nobody can pack."""
    codes_thw = np.random.default_rng(index).integers(0, 1024, GRID, np.int32)
    return {"codes": codes_thw, "label": index % 5, "id": f"random/train/{index:06d}"}


def code_records(folder: pathlib.Path, clips: int) -> RecordSource:
    """A data set of random codes."""
    like = ArraySource({"label": np.zeros(1, np.int32), "id": np.zeros(1, str)}, SPECS["mono64"].families)
    features = coded.features(like, GRID)
    write_dataset(folder, features, {"train": (clips, random_codes)}, name="codes", workers=1)
    return RecordSource(folder, "train", ("codes", "label"))


def clip_records(folder: pathlib.Path, world: str, clips: int) -> RecordSource:
    """The first clips of a world's training split."""
    splits = {"train": (clips, functools.partial(example, SPECS[world], "train"))}
    write_dataset(folder, WorldConfig(spec=SPECS[world]).features(), splits, name=world)
    return RecordSource(folder, "train", ("video", "label"))


def bytes_of(name: str, source: RecordSource, field: str) -> Row:
    """Bytes of an example of a data set: its share of the files, which ArrayRecord packs once more, its record, the
    video packed as in the record, and pixels or codes as they lie in memory."""
    split = tfds.builder_from_directory(source.directory).info.splits["train"]
    rows = source.read(range(len(source)))[field]
    disk = sum(path.stat().st_size for path in source.directory.glob("*.array_record*"))
    row = {"name": name, "clips": len(source), "disk": disk / len(source), "record": split.num_bytes / len(source),
           "memory": rows[0].nbytes}
    if field == "video":
        row["packed"] = float(np.mean([len(zlib.compress(each.tobytes(), ZLIB_LEVEL)) for each in rows]))
    return row


def data(clips: int, codes: int) -> Iterator[tuple[Row, Row]]:
    """By kind of record, the bytes of one and the seconds of reading them all."""
    with tempfile.TemporaryDirectory() as root:
        opened = {world: clip_records(pathlib.Path(root, world, "1.0.0"), world, clips) for world in WORLDS}
        opened["codes of B"] = code_records(pathlib.Path(root, "codes", "1.0.0"), codes)
        for name, source in opened.items():
            field, batch = source.fields[0], min(BATCH, len(source))

            def read(source=source, field=field, batch=batch):
                return sum(map(len, reading.through_pipeline(source, batch, THREADS, field)))

            timing = alternate({name: read}, repeats=REPEATS)[name]
            yield bytes_of(name, source, field), _row(f"reading {name}", len(source) // batch * batch, timing)


def order(indices: int) -> Row:
    """Seconds of drawing the order of an epoch."""
    seeds = iter(range(REPEATS + 1))  # an order that was drawn before is kept
    timing = alternate({"order": lambda: shuffled(np.zeros(1, int), indices, next(seeds))}, repeats=REPEATS)["order"]
    return _row("order of an epoch", indices, timing)


def _row(name: str, clips: int, timing: Timing) -> Row:
    return {"name": name, "clips": clips, "seconds": timing.seconds, "clips_per_s": clips / timing.median}


def show(found: Mapping[str, Any]) -> str:
    """The three tables."""
    def cells(row, **forms):
        return [row["name"], *(form.format(row[key]) if key in row else "–" for key, form in forms.items())]

    networks = [cells(row, tokens="{:,}", parameters="{:,}", gflop="{:,.2f}", gflop_encode="{:,.2f}")
                for row in found["networks"]]
    sizes = [cells(row, clips="{:,}", disk="{:,.0f}", record="{:,.0f}", packed="{:,.0f}", memory="{:,}")
             for row in found["bytes"]]
    timings = [[*cells(row, clips="{:,}"), str(Timing(tuple(row["seconds"]))), f"{row['clips_per_s']:,.0f}"]
               for row in found["timed"]]
    return "\n\n".join([
        as_text(["one clip", "tokens", "parameters", "GFLOP forward", "GFLOP to encode"], networks),
        as_text(["bytes of a clip", "clips", "on disk", "record", "packed video", "in memory"], sizes),
        as_text(["", "clips", "median (range)", "clips/s"], timings),
    ])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(VARIANTS), help="variants; default: %(default)s")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--codes", type=int, default=10_000)
    parser.add_argument("--indices", type=int, default=10**7)
    parser.add_argument("--output", help="JSON file for the figures")
    flags = parser.parse_args(arguments)
    rows = list(data(flags.clips, flags.codes))
    found = {
        "networks": list(costs(flags.networks.split(","))),
        "bytes": [row for row, _ in rows], "timed": [*(row for _, row in rows), order(flags.indices)],
        "about": environment(),
    }
    print(show(found))
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
