"""The masked transformer's training step beside that of a plain PyTorch network of the same shape.

    pip install -e ".[bench]"
    python benchmarks/transformer.py [--batch_size=16] [--hidden=128] [--repeats=20] [--output=FILE.json]

Ours is the step of ``configs/maskgvt_traj.py`` without causal frames and codes' vectors, on the 257 tokens of a clip
under the codes of ``configs/vqvae_traj.py:4x8x8``, as ``run.py`` makes it: masks are drawn, positions rotated, kernels
take Muon, weights are averaged. The PyTorch one has the same layers and number of parameters and is what one writes
first: one projection for queries, keys and values, scaled_dot_product_attention, cross-entropy at all positions, Adam,
as it comes, without torch.compile. Its step lacks masks, rotation, Muon and average. Calls take turns, so that what
else the machine does hits both; medians with the fastest and the slowest call, and processor time of a step, all cores
together, which counts waiting threads where a library lets them spin. JAX and PyTorch each use every core.
"""

import argparse
import importlib.metadata
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import growth  # beside this file; it prepares jax
import jax
import lowerings
import pytorch
import torch
import torch.nn.functional as F
from torch import nn

from videogvt.bench.parts import Part, Subject
from videogvt.core.trees import parameter_count
from videogvt.report.grids import as_text
from videogvt.train.contracts import Plan
from videogvt.train.journal import environment
from videogvt.train.timing import Timing, alternate


class Layer(nn.Module):
    """Attention and MLP, each behind a norm."""

    def __init__(self, hidden: int, heads: int, mlp: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(hidden), nn.LayerNorm(hidden)])
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, mlp), nn.GELU("tanh"), nn.Linear(mlp, hidden))

    def forward(self, x):
        batch, length, hidden = x.shape
        qkv = self.qkv(self.norms[0](x)).view(batch, length, 3, self.heads, hidden // self.heads)
        mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.mlp(self.norms[1](x))


class Transformer(nn.Module):
    """Word and position tables, layers, and a head tied to the words."""

    def __init__(self, vocab_size: int, length: int, layers: int, hidden: int, heads: int, mlp: int):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocab_size, hidden), nn.Embedding(length, hidden)
        self.first, self.last = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.layers = nn.Sequential(*(Layer(hidden, heads, mlp) for _ in range(layers)))
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU("tanh"), nn.LayerNorm(hidden))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, tokens):
        """The loss of tokens (B, L) that are to be told from themselves."""
        x = self.last(self.layers(self.first(self.words(tokens) + self.positions.weight)))
        logits = F.linear(self.head(x), self.words.weight, self.bias)
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), label_smoothing=1e-4)


def ours(flags: argparse.Namespace) -> tuple[Any, Part, Subject]:
    """The network, its training step, and what holds its state."""
    frames, pixels = flags.clip
    changes = {"transformer": {"causal_frames": False, "codebook_embeddings": False}, "tokenizer": {"stem": (4, 8, 8)}}
    recipe, arrays = growth.transformer(growth.Setting(flags.batch_size, frames, pixels, flags.hidden), changes)
    subject = Subject(recipe, arrays, Plan(total_steps=1))
    return recipe.generation.transformer, subject.training(), subject


def plain(network: Any, batch_size: int) -> tuple[int, Callable[[], None]]:
    """Parameters and training step of the PyTorch network."""
    torch.manual_seed(0)
    other = Transformer(
        network.vocab_size, network.sequence_length, network.layers, network.hidden, network.heads, network.mlp)
    tokens = torch.randint(0, network.vocab_size, (batch_size, network.sequence_length))
    return sum(p.numel() for p in other.parameters()), pytorch.training(other, lambda: other(tokens))


def processor_time(call: Callable[[], Any], calls: int) -> float:
    """Seconds of all cores that a call takes."""
    start = time.process_time()
    for _ in range(calls):
        jax.block_until_ready(call())
    return (time.process_time() - start) / calls


def compare(flags: argparse.Namespace) -> dict[str, Any]:
    """Timings of both steps."""
    network, part, subject = ours(flags)
    program = part.lowered().compile()
    count, step = plain(network, flags.batch_size)
    calls = {"ours": lambda: part.call(program), "PyTorch": step}
    timings = alternate(calls, repeats=flags.repeats, budget_s=120)
    return {"seconds": {name: timing.seconds for name, timing in timings.items()},
            "processor": {name: processor_time(call, 3) for name, call in calls.items()}, "about": {
                "parameters": {"ours": parameter_count(subject.state.params), "PyTorch": count},
                "gflop": part.flops / 1e9, "tokens": network.sequence_length, "batch_size": flags.batch_size,
                "torch": importlib.metadata.version("torch"), "threads": torch.get_num_threads(), **environment()}}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--clip", type=lowerings.numbers, default=[16, 64], help="frames, and pixels a side")
    parser.add_argument("--hidden", type=int, default=128, help="a multiple of 64")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output", help="JSON file for the figures")
    flags = parser.parse_args(arguments)
    found = compare(flags)
    about, times = found["about"], {name: Timing(seconds) for name, seconds in found["seconds"].items()}
    print(f"{about['tokens']} tokens, {about['gflop']:,.1f} GFLOP a step of {about['batch_size']} clips, "
          f"{about['device']}, jax {about['packages']['jax']}, torch {about['torch']}\n")
    print(as_text(["", "training step", "processor time, ms", "parameters"], [
        [name, str(timing), f"{1e3 * found['processor'][name]:,.4g}", f"{about['parameters'][name]:,}"]
        for name, timing in times.items()]))
    print(f"\nours / PyTorch: {times['ours'].median / times['PyTorch'].median:.2f}")
    if flags.output:
        pathlib.Path(flags.output).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
