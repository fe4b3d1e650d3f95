"""Our tokenizer beside a plain PyTorch network of the same shape, and beside magvit2-pytorch where it is installed.

    pip install -e ".[bench]"
    python benchmarks/pytorch.py [--filters=32] [--multipliers=1,2,4] [--clip=16,64,64] [--batch_size=2]
        [--repeats=5] [--output=FILE.json]

Both networks have the same layers, number of parameters and losses (squared error, vector quantization; no GAN) and
make a training step with Adam, encode and decode, in float32. The PyTorch one is what one writes first: Conv3d,
GroupNorm, SiLU, avg_pool3d, nearest upsampling, as it comes, without torch.compile. magvit2-pytorch has another network
of about as many parameters, without its GAN and perceptual loss. Calls take turns, so that what else the machine does
hits all; medians with the fastest and the slowest call. JAX and PyTorch each use every core.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import pathlib
from collections.abc import Callable
from typing import Any

import lowerings  # beside this file; it prepares jax
import torch
from on_device.torch_network import Tokenizer, training, without_gradients

from videogvt.core.trees import parameter_count
from videogvt.report.grids import as_text
from videogvt.train.journal import environment
from videogvt.train.timing import Timing, alternate


def plain(flags: argparse.Namespace) -> tuple[int, dict[str, Callable[[], None]]]:
    """Parameters and calls of the plain network."""
    torch.manual_seed(0)
    network, levels = Tokenizer(flags.filters, flags.multipliers, width=lowerings.WIDTH), len(flags.multipliers) - 1
    video = torch.rand(flags.batch_size, 3, *flags.clip)
    latents = torch.randn(flags.batch_size, lowerings.WIDTH, *(side >> levels for side in flags.clip))
    return sum(p.numel() for p in network.parameters()), {
        "train step": training(network, lambda: network(video)),
        "encode": without_gradients(network.encoder, video), "decode": without_gradients(network.decoder, latents),
    }


def magvit2(flags: argparse.Namespace) -> tuple[int, dict[str, Callable[[], None]]]:
    """Parameters and calls of magvit2-pytorch; it wants square clips of one frame more."""
    from magvit2_pytorch import VideoTokenizer

    frames, size, _ = flags.clip
    network = VideoTokenizer(
        image_size=size, init_dim=2 * flags.filters, max_dim=256, codebook_size=1024, use_gan=False,
        perceptual_loss_weight=0.0, layers=(
            ("consecutive_residual", 2), "compress_space", "compress_time", ("consecutive_residual", 2),
            "compress_space", "compress_time", ("consecutive_residual", 2)),
    )
    video = torch.rand(flags.batch_size, 3, frames + 1, size, size)
    codes = network.tokenize(video)
    return sum(p.numel() for p in network.parameters()), {
        "train step": training(network, lambda: network(video, return_loss=True)[0]),
        "encode": without_gradients(network.tokenize, video),
        "decode": without_gradients(network.decode_from_code_indices, codes),
    }


def compare(flags: argparse.Namespace) -> dict[str, Any]:
    """Timings of all networks."""
    recipe = lowerings.network(flags)
    state, video_BTHWC = lowerings.start(recipe, flags)
    contestants = {"ours": (parameter_count(state.params), lowerings.compiled(recipe, state, video_BTHWC)),
                   "PyTorch": plain(flags)}
    if importlib.util.find_spec("magvit2_pytorch"):
        contestants["magvit2-pytorch"] = magvit2(flags)
    rows = []
    for work in lowerings.WORK:
        calls = {name: calls[work] for name, (_, calls) in contestants.items()}
        timings = alternate(calls, repeats=flags.repeats, budget_s=300)
        rows.append({"name": work, **{name: timing.seconds for name, timing in timings.items()}})
    return {"rows": rows, "about": {
        "parameters": {name: count for name, (count, _) in contestants.items()}, "batch_size": flags.batch_size,
        "clip": flags.clip, "torch": importlib.metadata.version("torch"), "threads": torch.get_num_threads(),
        **environment(),
    }}


def main(arguments: list[str] | None = None) -> None:
    flags = lowerings.parser(__doc__).parse_args(arguments)
    found = compare(flags)
    counts = found["about"]["parameters"]
    print(f"torch {found['about']['torch']}, jax {found['about']['packages']['jax']}, {found['about']['device']}; "
          "parameters: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + "\n")
    lines = []
    for row in found["rows"]:
        ours = Timing(row["ours"])
        cells = [str(Timing(row[name])) for name in counts]
        ratios = [f"{ours.median / Timing(row[name]).median:.2f}" for name in counts if name != "ours"]
        lines.append([row["name"], *cells, *ratios])
    print(as_text(["", *counts, *(f"ours / {name}" for name in counts if name != "ours")], lines))
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
