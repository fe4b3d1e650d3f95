"""From a table with a row for each clip to figures, and to the clips worth looking at."""

import numpy as np

from videogvt.evals.rows import Columns


def figures(columns: Columns) -> dict[str, float]:
    """The figures that a table allows; a column that is not there has none.

    Images: ``psnr`` (dB), ``ssim`` and ``l1`` are means over clips. Object: ``object_found_share`` is the share of
    frames where it is found; ``track_error_px_median`` and ``track_error_px_p95`` are over all frames that have a track
    in the original; ``object_mse`` is the mean squared error over the object's own pixels; ``oracle_accuracy`` is the
    share of clips whose family the oracle names right. ``clips`` counts the rows.
    """
    numbers = {"clips": float(len(columns["index"]))}
    numbers |= {name: float(columns[name].mean(dtype=np.float64)) for name in ("psnr", "ssim", "l1") if name in columns}
    if "found" in columns:
        numbers["object_found_share"] = float(columns["found"].mean())
    if "track_error_px" in columns and np.isfinite(columns["track_error_px"]).any():
        errors = columns["track_error_px"][np.isfinite(columns["track_error_px"])]
        numbers["track_error_px_median"] = float(np.median(errors))
        numbers["track_error_px_p95"] = float(np.percentile(errors, 95))
    if "object_sse" in columns:
        pixels = columns["object_pixels"].sum(dtype=np.float64)
        numbers["object_mse"] = float(columns["object_sse"].sum(dtype=np.float64) / pixels)
    if "named_right" in columns:
        numbers["oracle_accuracy"] = float(columns["named_right"].mean())
    return numbers


def code_figures(counts_K: np.ndarray, pixels: float) -> dict[str, float]:
    """``codes_used`` over all clips, their share ``code_usage`` of K, ``code_perplexity`` and ``bits_per_pixel``.

    The perplexity is the exponential of the entropy of the counts: as many codes as, equally used, would say as much.
    Bits per pixel are those of codes of fixed length, log2 K each, over the pixels (T·H·W) that they stand for.
    """
    tokens = counts_K.sum()
    share = counts_K[counts_K > 0] / tokens
    return {
        "codes_used": float(len(share)),
        "code_usage": float(len(share) / len(counts_K)),
        "code_perplexity": float(np.exp(-np.sum(share * np.log(share)))),
        "bits_per_pixel": float(tokens * np.log2(len(counts_K)) / pixels),
    }


def choose(columns: Columns, count: int) -> dict[str, np.ndarray]:
    """Rows to look at: the ``first`` of the split and, by rule, the ``best``, ``median`` and ``worst``, the best, the
    worst and the one nearest to the middle first. In a small split one clip may be several of these.

    Clips are ranked by their mean track error, where there is one, then by PSNR. A clip whose original has no track is
    ranked by nothing and not chosen.
    """
    ranks = np.arange(len(columns["index"]))
    keys = [-columns["psnr"]]
    if "track_error_px" in columns:
        tracked = np.isfinite(columns["track_error_px"])
        error = np.where(tracked, columns["track_error_px"], 0.0).sum(axis=1) / np.maximum(tracked.sum(axis=1), 1)
        keys.append(error)
        ranks = ranks[tracked.any(axis=1)] if tracked.any() else ranks
    order = ranks[np.lexsort([key[ranks] for key in keys])]
    count = min(count, len(order))
    from_middle = np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")
    return {
        "first": np.arange(count), "best": order[:count], "median": order[from_middle[:count]],
        "worst": order[len(order) - count :][::-1],
    }
