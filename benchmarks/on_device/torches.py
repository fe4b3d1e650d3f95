"""Part "PyTorch": a plain network of tokenizer B's shape, on the same device in bfloat16 by autocast."""

import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

from on_device import sizes
from on_device.job import BUDGET_S, REPEATS, Bench, Job, Row, Skip
from videogvt.bench.parts import speed
from videogvt.train.timing import alternate

WORK = ("train step", "encode", "decode")  # as the part "tokenizer" calls them


def _device(dry_run: bool) -> str:
    if importlib.util.find_spec("torch") is None:
        raise Skip("PyTorch is not installed.")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if dry_run:
        return "cpu"
    raise Skip("This PyTorch finds no CUDA device.")


def _call(work: str, settings: dict[str, Any], device: str, batch: int, last: bool) -> tuple[Callable[[], None], int]:
    """A call of the network, and how many parameters it has."""
    import torch

    from on_device import torch_network

    torch.backends.cudnn.benchmark = True  # choose kernels by trial, as XLA does
    torch.manual_seed(0)
    fields, clip = settings["tokenizer"], settings["clip"]
    quantizer, flags = fields["quantizer"], fields["temporal_downsample"]
    network = torch_network.Tokenizer(
        fields["filters"], fields["channel_multipliers"], flags, quantizer["num_codes"], quantizer["embedding_dim"])
    order = torch.channels_last_3d if last else torch.contiguous_format
    network = network.to(device, memory_format=order)
    video = torch.rand(batch, 3, *clip, device=device).to(memory_format=order)
    levels = len(fields["channel_multipliers"]) - 1
    strides = (2 ** sum(flags[:levels]), 2**levels, 2**levels)
    grid = (side // stride for side, stride in zip(clip, strides))
    latents = torch.randn(batch, quantizer["embedding_dim"], *grid, device=device).to(memory_format=order)
    calls = {"train step": torch_network.training(network, lambda: network(video)),
             "encode": torch_network.without_gradients(network.encoder, video),
             "decode": torch_network.without_gradients(network.decoder, latents)}

    def call():
        with torch.autocast(device, torch.bfloat16):
            calls[work]()
        if device == "cuda":
            torch.cuda.synchronize()

    return call, sum(parameter.numel() for parameter in network.parameters())


def _row(bench: Bench, work: str, last: bool) -> Row:
    """Times one kind of work at our own batch size, or at a quarter of it where that does not fit."""
    device, settings = _device(bench.dry_run), sizes.load("tokenizer B", bench.dry_run)
    import torch

    ours = bench.found("tokenizer", work)
    full = ours["clips"] if ours else settings["batch_size"] if bench.dry_run else 16
    for batch in dict.fromkeys((full, max(1, full // 4))):
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            call, parameters = _call(work, settings, device, batch, last)
            timing = alternate({work: call}, repeats=REPEATS, budget_s=BUDGET_S)[work]
        except torch.OutOfMemoryError as error:
            failed = error.with_traceback(None)  # which would keep the arrays
            torch.cuda.empty_cache()
            continue
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
        row = speed(work, batch, settings["clip"][0], timing)
        row |= {"memory": peak, "parameters": parameters, "dtype": "bfloat16",
                "device": torch.cuda.get_device_name() if device == "cuda" else device}
        ceiling = bench.found("machine", "bfloat16")
        if ours and ceiling:  # of the same products, counted from our network
            row["gflop"] = ours["gflop"] / ours["clips"] * batch
            row["matrix_share"] = row["gflop"] * 1e9 / timing.median / ceiling["rate"]
        return row
    raise failed


def jobs(bench: Bench) -> Iterator[Job]:
    """Each kind of work as it comes, and with channels last."""
    for last in (False, True):
        for work in WORK:
            name = f"{work}, channels last" if last else work
            yield Job(name, row=functools.partial(_row, bench, work, last), seconds=9)

