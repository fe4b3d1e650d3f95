"""Networks as files that run without this package: encoder, decoder and a generator's step.

    python -m videogvt.pretrained.portable SOURCE FOLDER [--weights int8] [--onnx] [--clip 16,64,64] [--batch 1]

SOURCE is what ``VideoTokenizer.load`` or ``VideoGenerator.load`` takes. FOLDER gets ``encode``, ``decode`` and, of a
generator, ``step``, each as one file with its weights in it, and ``about.json``, which says what goes in and comes out:

    .stablehlo   of ``jax.export``: CPU and CUDA in one artefact; jax alone runs it
    .onnx        with --onnx, by jax2onnx: ONNX Runtime and whoever else reads ONNX

Shapes are fixed. docs/export.md runs the files and has their sizes, times and losses.
"""

import argparse
import dataclasses
import functools
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from videogvt.core.registry import unknown_name
from videogvt.models.generation import MaskedGeneration
from videogvt.nn.tokenizer import TokenizerNetwork as Network
from videogvt.pretrained.bundle import CONFIG, shipped
from videogvt.pretrained.compat import foreign
from videogvt.pretrained.generator import GENERATIONS, VideoGenerator
from videogvt.pretrained.rounding import ROUNDINGS, rounded, unrounded
from videogvt.pretrained.tokenizer import VideoTokenizer

PLATFORMS = ("cpu", "cuda")
_ABOUT = "about.json"
_LOWERINGS = {"cpu": "taps", "default": "native"}
"""How convolutions run, by platform; see ``ops.conv``."""


@dataclasses.dataclass(frozen=True)
class PortablePart:
    """A function to be written.

    Attributes:
      name: of its file.
      params: its weights, rounded.
      function: ``(params, *inputs) -> array``, by platform where it is not the same on all; traceable.
      inputs: by name, shapes and dtypes.
      output: name of what comes out.
      facts: more for ``about.json``.
    """

    name: str
    params: Any
    function: Mapping[str, Callable[..., jax.Array]]
    inputs: Mapping[str, jax.ShapeDtypeStruct]
    output: str
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def everywhere(self, *inputs: jax.Array) -> jax.Array:
        """The function on the platform that it is compiled for."""
        if len(self.function) == 1:
            return self.function["default"](self.params, *inputs)
        return jax.lax.platform_dependent(self.params, *inputs, **self.function)

    def plain(self, *inputs: jax.Array) -> jax.Array:
        """The function with convolutions of two axes alone, which converters know."""
        return self.function.get("cpu", self.function["default"])(self.params, *inputs)


def _tokenizer_parts(
    tokenizer: VideoTokenizer, weights: str, clip: Sequence[int], batch: int
) -> tuple[PortablePart, PortablePart]:
    """``encode`` and ``decode`` of clips (T, H, W).

    Raises:
      ValueError: the clip does not fit the tokenizer.
    """
    grid, params = tokenizer.network.latent_shape(tuple(clip)), rounded(tokenizer.params, weights)

    def method(name: str) -> dict[str, Callable]:
        def run(network: Network, params, array):
            return network.apply({"params": unrounded(params)}, array, method=name)

        return {platform: functools.partial(run, tokenizer.network.clone(lowering=lowering))
                for platform, lowering in _LOWERINGS.items()}

    video = jax.ShapeDtypeStruct((batch, *clip, 3), jnp.float32)
    codes = jax.ShapeDtypeStruct((batch, *grid), jnp.int32)
    about = {"num_codes": tokenizer.num_codes, "strides": list(tokenizer.strides), "tokenizer": tokenizer.hash}
    return (PortablePart("encode", params, method("codes"), {"video": video}, "codes", about),
            PortablePart("decode", params, method("video"), {"codes": codes}, "video", about))


def step_part(generator: VideoGenerator, weights: str, batch: int) -> PortablePart:
    """``step``: from the codes of a clip as far as they are known to the logits of all of them.

    Of a masked transformer unknown codes are the mask's number, and logits are of every place given the others. Of a
    causal one the logits of a place are of its code given those before it, and what stands at it and after counts for
    nothing.
    """
    generation = generator.generation
    if generation.tasks.needs_condition:
        raise ValueError(f"{generator} has tasks that are given pixels; a step is written of generators by class alone "
                         f"(CG), whose inputs are codes. Found {', '.join(generator.tasks)}.")
    masked = isinstance(generation, MaskedGeneration)
    codebook_KC = jax.device_get(generation.codebook(generator.tokenizer.params))

    def step(params, tokens_BN, label_B):
        task_B = jnp.zeros_like(label_B)
        if not masked:
            prefix_B2 = generation.prefix(task_B, label_B)
            logits_BLV = generation.logits(unrounded(params), tokens_BN, prefix_B2, codebook_KC)
            return logits_BLV[:, 1:, : generation.vocabulary.num_codes]
        prefix_BP, nothing_BN = generation.tasks.prefix(task_B, label_B), jnp.zeros_like(tokens_BN)
        return generation.logits(unrounded(params), tokens_BN, prefix_BP, nothing_BN, codebook_KC=codebook_KC)

    inputs = {"tokens": jax.ShapeDtypeStruct((batch, generation.num_tokens), jnp.int32),
              "label": jax.ShapeDtypeStruct((batch,), jnp.int32)}
    about = {"mask": generation.vocabulary.mask if masked else None, "grid": list(generation.latent_shape),
             "class_names": list(generator.class_names), "kind": "masked" if masked else "causal",
             "task": generator.tasks[0], "tokenizer": generator.tokenizer.hash}
    return PortablePart("step", rounded(generator.params, weights), {"default": step}, inputs, "logits", about)


def parts_of(
    source: str | os.PathLike, weights: str = "float32", clip: Sequence[int] | None = None, batch: int = 1
) -> tuple[PortablePart, ...]:
    """All parts of a tokenizer, or of a generator and its tokenizer.

    Args:
      source: a run's directory, an exported folder, a shipped name, or a file of others, "maskgit:FILE" and its like.
      weights: "float32", "float16" or "int8"; arithmetic is float32 in any case.
      clip: (T, H, W); None for that of the training, which a generator's always is.
      batch: clips at once.
    """
    if weights not in ROUNDINGS:
        raise ValueError(unknown_name("kind of weights", weights, ROUNDINGS))
    if batch < 1:
        raise ValueError(f"batch is {batch}; expected at least 1.")
    if not _is_generator(source):
        tokenizer = VideoTokenizer.load(source)
        clip = clip or tokenizer.trained_on
        if clip is None:
            raise ValueError(f"{source} does not say on which clips it was trained; name them: --clip T,H,W.")
        return _tokenizer_parts(tokenizer, weights, clip, batch)
    generator = VideoGenerator.load(source)
    if not isinstance(generator.tokenizer, VideoTokenizer):
        raise ValueError(f"{source} generates codes of another codec, which decodes them itself; there is no network "
                         "of ours to write.")
    shape = generator.generation.video_shape
    if clip is not None and tuple(clip) != tuple(shape):
        raise ValueError(f"clip is {tuple(clip)}; a generator's clips are of {shape}. Leave it out.")
    return *_tokenizer_parts(generator.tokenizer, weights, shape, batch), step_part(generator, weights, batch)


def write_portable(
    source: str | os.PathLike, folder: os.PathLike, *, weights: str = "float32", clip: Sequence[int] | None = None,
    batch: int = 1, onnx: bool = False,
) -> pathlib.Path:
    """Writes a folder of files; it is there whole or not at all.

    Args:
      source, weights, clip, batch: see ``parts_of``.
      folder: to be made; one that exists is not touched.
      onnx: write ``.onnx`` files too.

    Raises:
      FileExistsError: ``folder`` exists.
      ValueError: something does not fit, or the converter to ONNX is not installed.
    """
    folder = pathlib.Path(folder).absolute()
    if folder.exists():
        raise FileExistsError(f"{folder} exists; remove it, or choose another name.")
    convert = load_converter() if onnx else None
    parts = parts_of(source, weights, clip, batch)
    unfinished = folder.with_name(f"incomplete.{os.getpid()}_{folder.name}")
    unfinished.mkdir(parents=True)
    try:
        about = {"source": str(source), "weights": weights, "platforms": PLATFORMS, "jax": jax.__version__, "parts": {}}
        for part in parts:
            files = {f"{part.name}.stablehlo": as_stablehlo(part)}
            if convert is not None:
                files[f"{part.name}.onnx"] = convert(part)
            for name, data in files.items():
                (unfinished / name).write_bytes(data)
            about["parts"][part.name] = _about(part, files)
        (unfinished / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")
        unfinished.rename(folder)
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)
    return folder


def as_stablehlo(part: PortablePart) -> bytes:
    """The artefact of ``jax.export``; ``jax.export.deserialize(bytearray(data)).call(*inputs)`` runs it."""
    exported = jax.export.export(jax.jit(part.everywhere), platforms=PLATFORMS)(*part.inputs.values())
    return bytes(exported.serialize())


def load_converter() -> Callable[[PortablePart], bytes]:
    """From a part to an ONNX file.

    Raises:
      ValueError: jax2onnx is not installed.
    """
    try:
        to_onnx = importlib.import_module("jax2onnx").to_onnx
    except ImportError as error:
        raise ValueError(
            f"--onnx needs jax2onnx ({error}): pip install 'videogvt[onnx]' && pip install --no-deps jax2onnx. Without "
            "--no-deps it replaces orbax-checkpoint by a version that this package does not run with.") from error

    def convert(part: PortablePart) -> bytes:
        model = to_onnx(part.plain, list(part.inputs.values()), model_name=part.name)
        for found, name in zip([*model.graph.input, *model.graph.output], [*part.inputs, part.output], strict=True):
            _rename(model.graph, found.name, name)
        return model.SerializeToString()

    return convert


def _rename(graph: Any, old: str, new: str) -> None:
    """Gives an input or output of an ONNX graph the name that ``about.json`` has for it."""
    for value in [*graph.input, *graph.output]:
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _about(part: PortablePart, files: Mapping[str, bytes]) -> dict[str, Any]:
    result = jax.eval_shape(part.plain, *part.inputs.values())
    return {
        "inputs": {name: _array(one) for name, one in part.inputs.items()}, "output": {part.output: _array(result)},
        **part.facts,
        "files": {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                  for name, data in files.items()},
    }


def _array(array: jax.ShapeDtypeStruct) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def _is_generator(source: str | os.PathLike) -> bool:
    """Whether a name, a directory or a file of others is a generator's; what is neither is a tokenizer's mistake to
    tell."""
    if theirs := foreign(source):
        return "transformer" in theirs.read("networks")
    folder = pathlib.Path(source).expanduser()
    if not folder.is_dir():
        return str(source) in shipped("generator")
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return False
    return "generator" in config if "sha256" in config else config.get("recipe") in GENERATIONS


def _clip(text: str) -> tuple[int, ...]:
    sides = text.split(",")
    if len(sides) != 3 or not all(map(str.isdecimal, sides)):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected frames, height and width, such as 16,64,64")
    return tuple(map(int, sides))


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m videogvt.pretrained.portable", description=__doc__.split("\n")[0])
    parser.add_argument("source", help="a run's directory, an exported folder, a shipped name or SCHEME:FILE")
    parser.add_argument("folder", help="to be made")
    parser.add_argument("--weights", default="float32", help=", ".join(ROUNDINGS))
    parser.add_argument("--clip", type=_clip, help="T,H,W")
    parser.add_argument("--batch", type=int, default=1, help="clips at once")
    parser.add_argument("--onnx", action="store_true", help="write .onnx files too")
    options = vars(parser.parse_args(arguments))
    try:
        folder = write_portable(options.pop("source"), options.pop("folder"), **options)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for path in sorted(folder.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
