"""Where a run starts: at the weights of another, of the same networks, of per-frame ones that are inflated, or of a
transformer of one task whose vocabulary is resized for many; or at a token embedding table that knows what codes stand
for.

The vector of a code says to the tokenizer's own decoder where in its cell something stands; to a network that learns
from few labels it does not. Codes that draw much the same in much the same place have pictures that overlap once they
are blurred, so that the principal components of blurred pictures put like codes side by side (``decoded_vectors``).
Nothing here knows what a clip shows; labels have no part in it.
"""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import jax
import numpy as np
from etils import epath
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from videogvt.core.registry import refuse_dropped, refuse_dropped_config, stored_config, unknown_name
from videogvt.models.vocabulary import Vocabulary
from videogvt.nn.inflation import INFLATIONS, inflate
from videogvt.pretrained.bundle import is_bundle, read_bundle, shipped
from videogvt.pretrained.compat import foreign
from videogvt.pretrained.compat.trees import misfits
from videogvt.train.checkpoint import choose_step, load_weights, read_meta
from videogvt.train.state import TrainState

SAME = "none"
SEGMENTS = "segment_embeddings"


@dataclasses.dataclass(frozen=True)
class Start:
    """Fills in weights of another run; a recipe's ``start``.

    Parameters go to parameters and moving averages to moving averages, network by network; a network that the other
    run has not (a discriminator, say) keeps its random weights. Optimizers start afresh.

    Attributes:
      workdir: directory of the other run; or an exported folder, or the name of a tokenizer or generator that ships,
        whose moving average then is parameters and moving average. "maskgit:FILE" and its like: see ``compat``.
      inflation: "central" or "average" (see ``nn.inflation``), for networks that may differ and in particular lack the
        time axis; "none" where they must be the same, leaf by leaf.
      step: "best", "last" or a number; of what was exported "best" alone.
      resize: what becomes of the other run's networks before they are compared, such as a ``VocabularyResizing``; None
        for nothing.
      tokenizer: hash of the parameters of the tokenizer whose codes the networks say; a warning tells where the other
        run's say another's. None for networks that say none.
    """

    workdir: os.PathLike
    inflation: Literal["central", "average", "none"] = "central"
    step: int | str = "best"
    resize: Callable[[Any, Any], Any] | None = None
    tokenizer: str | None = None

    def __post_init__(self):
        if self.inflation not in (*INFLATIONS, SAME):
            raise ValueError(unknown_name("value of init_from.inflation", self.inflation, (*INFLATIONS, SAME)))

    def __call__(self, state: TrainState) -> TrainState:
        """The state, with the other run's weights as NumPy arrays.

        Raises:
          FileNotFoundError: there is no such run.
          ValueError: its networks do not fit.
        """
        given = self._given()
        if not state.params.keys() & given["params"].keys():
            raise ValueError(
                f"init_from: {self.workdir} holds the networks {sorted(given['params'])}; expected some of "
                f"{sorted(state.params)}. Name the run of a recipe of the same kind."
            )
        params = self._filled(state.params, given["params"])
        return state.replace(params=params, ema=self._filled(state.ema, {**given["params"], **given["ema"]}))

    def _given(self) -> Mapping[str, Mapping[str, Any]]:
        """Networks by name, of "params" and of "ema"."""
        if theirs := foreign(self.workdir, self.step):
            return {weights: theirs.read("networks", weights) for weights in ("params", "ema")}
        folder = epath.Path(self.workdir).expanduser()  # which may be in a bucket
        if not folder.is_dir():
            ships = shipped() | shipped("generator")
            if str(self.workdir) not in ships:
                refuse_dropped(self.workdir)
                raise FileNotFoundError(
                    f"init_from: there is no {str(self.workdir)!r}; expected the directory of a run, an exported "
                    f"folder, or the name of what ships ({', '.join(ships)}).")
            folder = ships[str(self.workdir)]
        if not is_bundle(folder):
            path = folder / "config.json"
            refuse_dropped_config(stored_config(path) if path.exists() else {}, folder)
            self._check_codes(read_meta(folder, choose_step(folder, self.step)).get("frozen", {}).get("tokenizer"))
            return load_weights(folder, self.step, ("params", "ema"))
        if self.step != "best":
            raise ValueError(f"init_from.step is {self.step!r}, and {folder} is an export, which has one set of "
                             "weights; leave it at 'best'.")
        config, params = read_bundle(folder)
        self._check_codes(config.get("generator", {}).get("tokenizer_params"))
        network = config["run"]["recipe"] if "generator" in config else "generator"  # a tokenizer's own network
        weights = {network: jax.tree.map(lambda leaf: leaf.astype(np.float32), params)}
        return {"params": weights, "ema": weights}

    def _check_codes(self, theirs: str | None) -> None:
        if self.tokenizer is not None and theirs not in (None, self.tokenizer):
            logging.warning(
                "init_from: %s was trained on codes of a tokenizer whose parameters have the hash %s, and this run is "
                "on those of %s, so that its weights know nothing of what these codes show. Name the same tokenizer as "
                "config.tokenizer.run, or begin without init_from.workdir.", self.workdir, theirs, self.tokenizer)

    def _filled(self, networks: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        filled = {}
        for name, tree in networks.items():
            if name not in given:
                logging.warning("init_from: %s has no %s, which keeps its random weights.", self.workdir, name)
                filled[name] = tree
            elif self.inflation == SAME:
                filled[name] = self.resize(tree, given[name]) if self.resize is not None else given[name]
                self._check_same(name, tree, filled[name])
            else:
                filled[name] = inflate(tree, given[name], mode=self.inflation)
        return filled

    def _check_same(self, name: str, wanted: Any, given: Any) -> None:
        shapes = [
            {jax.tree_util.keystr(path, simple=True, separator="/"): np.shape(leaf)
             for path, leaf in jax.tree_util.tree_leaves_with_path(tree)} for tree in (given, wanted)
        ]
        if differ := misfits(*shapes):
            raise ValueError(
                f"init_from: the {name} of {self.workdir} is another network: {len(differ)} parameters differ. Use the "
                "same config, or init_from.inflation = 'central' to take over what fits. These are:\n  "
                + "\n  ".join(differ))


@dataclasses.dataclass(frozen=True)
class VocabularyResizing:
    """Makes room in a transformer of one task for the tokens that a multi-task vocabulary adds (``models.vocabulary``).

    Codes, classes and the unconditional class keep their rows of the token embedding table and of the head's bias, and
    the mask token takes its row along to the end. Class and codes keep their positions; the position before them, of
    the task token, begins as the class's. The rows of the special tokens that are new stay random. Vectors that mark
    what is given, which a network of one task has no use for, begin at 0 where it lacks them.

    Attributes:
      vocabulary: the grown one.
    """

    vocabulary: Vocabulary

    def __call__(self, wanted: Any, given: Any) -> Any:
        """The given network in the shapes of the wanted one; as it is where it need not, or cannot, be resized."""
        single = dataclasses.replace(self.vocabulary, multitask=False)
        if not self.vocabulary.multitask:
            return given
        grown = jax.tree_util.tree_map_with_path(
            lambda path, leaf: self._grown(single, _at(wanted, path), path, leaf), given
        )
        embed = "BertEmbed_0"
        if (marks := wanted.get(embed, {}).get(SEGMENTS)) and SEGMENTS not in grown.get(embed, {}):
            grown = {**grown, embed: {**grown[embed], SEGMENTS: jax.tree.map(np.zeros_like, marks)}}
        return grown

    def _grown(self, single: Vocabulary, wanted: Any, path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if wanted is None or wanted.shape == leaf.shape or wanted.shape[1:] != leaf.shape[1:]:
            return leaf
        leaf = np.asarray(leaf)
        if "position_embeddings" in name and len(wanted) == len(leaf) + 1:
            return np.concatenate([leaf[:1], leaf])
        if ("word_embeddings" in name or "mlm_bias" in name) and len(leaf) == single.size:
            rows = np.array(wanted)
            rows[: single.mask], rows[self.vocabulary.mask] = leaf[: single.mask], leaf[single.mask]
            return rows
        return leaf


@dataclasses.dataclass(frozen=True)
class CodebookEmbeddings:
    """Starts a network's table of codes from what its tokenizer's codes stand for; a recipe's ``start``.

    The rows of codes become a random projection of the codes' vectors less their mean, with a part of the random row
    they were, so that no two are equal. Codes that look alike then begin alike, as inputs and, the head being tied, as
    predictions. Ours; the paper's are random.

    Attributes:
      vectors_KD: of the tokenizer's codes.
      share: of the rows' variance that comes from the vectors.
      std: of the rows; above the usual 0.02, so that predictions need not grow first to tell codes apart.
      table: the name of the module that is the table.
    """

    vectors_KD: np.ndarray
    share: float = 0.8
    std: float = 0.1
    table: str = "word_embeddings"

    def __call__(self, state: TrainState) -> TrainState:
        """The state, with the table in the parameters and their moving average.

        Raises:
          ValueError: no module of that name has a table.
        """
        paths = [jax.tree_util.keystr(path, simple=True, separator="/")
                 for path, _ in jax.tree_util.tree_leaves_with_path(state.params)]
        if not any(f"{self.table}/embedding" in path for path in paths):
            raise ValueError(
                f"init_from.token_embeddings: found no table {self.table!r} among {len(paths)} parameters, such as "
                f"{paths[0]}; expected a network that embeds codes. Leave init_from.token_embeddings out.")
        fill = functools.partial(jax.tree_util.tree_map_with_path, self._filled)
        return state.replace(params=fill(state.params), ema=fill(state.ema))

    def _filled(self, path: Any, leaf: Any) -> Any:
        if f"{self.table}/embedding" not in jax.tree_util.keystr(path, simple=True, separator="/"):
            return leaf
        vectors_KD = self.vectors_KD - self.vectors_KD.mean(axis=0)
        codes, dims = vectors_KD.shape
        projection = np.random.default_rng(0).normal(size=(dims, leaf.shape[1])) / np.sqrt(dims)
        known = (np.sqrt(self.share) * vectors_KD / vectors_KD.std() @ projection).astype(leaf.dtype)

        def filled(rows):
            random = np.sqrt(1 - self.share) * rows[:codes] / rows[:codes].std()
            return rows.at[:codes].set(self.std * (known + random))

        return jax.jit(filled, out_shardings=getattr(leaf, "sharding", None))(leaf)  # which may lie on many hosts


def _at(tree: Any, path: Any) -> Any:
    for entry in path:
        tree = tree.get(entry.key) if tree is not None else None
    return tree


_PARTS = 4
"""A code's picture has its cell and, on all four sides, a margin of so many parts of a cell's side, for decoders draw
across borders; it is blurred by a Gaussian whose std is as wide."""


class Drawing(Protocol):
    """What is asked of a tokenizer whose codes are drawn."""

    strides: tuple[int, int, int]
    num_codes: int

    def video(self, codes_Bthw) -> np.ndarray: ...


def code_pictures(tokenizer: Drawing, blank: int) -> np.ndarray:
    """How the decoded clip of three blank cells a side changes where the cell in its middle has another code.

    Args:
      tokenizer: of the codes.
      blank: the code of cells that show nothing, see ``pretrained.codes.most_frequent_code``.

    Returns:
      Float32 (K, frames of a cell, rows, columns, 3), differences of values in [0, 1]: the cell with its margin.
    """
    codes_K333 = np.full((tokenizer.num_codes, 3, 3, 3), blank, np.int32)
    codes_K333[:, 1, 1, 1] = np.arange(tokenizer.num_codes)
    frames, rows, columns = (slice(side - margin, 2 * side + margin) for side, margin in zip(
        tokenizer.strides, (0, *(side // _PARTS for side in tokenizer.strides[1:]))))
    changed_KTHWC = tokenizer.video(codes_K333)[:, frames, rows, columns]
    return changed_KTHWC - changed_KTHWC[blank]


def decoded_vectors(tokenizer: Drawing, blank: int, components: int = 32) -> np.ndarray:
    """Vectors (K, up to ``components``) of codes, float32, that are near each other where codes look alike.

    Principal components of how much each pixel of a code's picture changes, blurred. Arguments as ``code_pictures``.
    """
    change_KTHW = np.abs(code_pictures(tokenizer, blank)).sum(-1)
    blur = [side / _PARTS for side in tokenizer.strides[1:]]
    flat_KD = gaussian_filter(change_KTHW, (0, 0, *blur), mode="constant").reshape(len(change_KTHW), -1)
    return PCA(min(components, *flat_KD.shape), svd_solver="full").fit_transform(flat_KD).astype(np.float32)
