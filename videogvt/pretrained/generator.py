"""A trained generator in two lines: videos by class, or from the given part of a video."""

import functools
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from videogvt.core.registry import refuse_dropped, stored_config
from videogvt.decode import extend
from videogvt.models.generation import MaskedGeneration, causal_generation, masked_generation
from videogvt.ops.video import as_float
from videogvt.pretrained.bundle import is_bundle, read_bundle, shipped
from videogvt.pretrained.compat import StoredGenerator, foreign
from videogvt.pretrained.fidelity import poor_reading
from videogvt.pretrained.loading import OTHER_WEIGHTS, check_tokenizer
from videogvt.pretrained.requests import Generation, given_clips, labels_of, with_decoding, with_task
from videogvt.pretrained.tokenizer import VideoTokenizer

if TYPE_CHECKING:
    from videogvt.pretrained.codec import OwnTokenizer

GENERATIONS = {"transformer": masked_generation, "lm": causal_generation}
"""Kinds of runs that generate: ``config.recipe``, which is also the network's name, and what puts them together."""


class Generated(NamedTuple):
    """What was made.

    Attributes:
      videos: (n, T, H, W, 3) float32 in [0, 1]; None of imported codes that nobody decodes here.
      codes: (n, t, h, w) int32.
      labels: (n,) int32, the classes that were asked for; -1 where none was.
      tokens, masked: (n, steps, t, h, w), the codes as each decoding step proposed them, and which of them it hid
        again; None unless they were asked for.
    """

    videos: np.ndarray | None
    codes: np.ndarray
    labels: np.ndarray
    tokens: np.ndarray | None = None
    masked: np.ndarray | None = None


class VideoGenerator:
    """A transformer with its tokenizer.

        from videogvt import VideoGenerator
        generator = VideoGenerator.load("runs/maskgvt_traj")         # a run's directory, or the name of a shipped one
        made = generator.generate("CG", label="helical", number=4)   # made.videos: (4, T, H, W, 3) in [0, 1]
        made = generator.generate("FP:8", video=clip_THWC)           # goes on from the first 8 frames

    Clip i depends on the seed and i alone, not on how many are made or at once.

    Attributes:
      generation: networks, vocabulary, tasks and decoding; see ``models.generation``.
      params: of the transformer, on the device.
      tokenizer: the first stage.
      class_names: by label; () without classes.
      config: of the run.
      batch_size: clips that are made at once.
    """

    def __init__(
        self, config: Mapping[str, Any], params: Mapping[str, Any], tokenizer: "VideoTokenizer | OwnTokenizer",
        video_shape: tuple[int, int, int], class_names: Sequence[str], *, batch_size: int = 8,
    ):
        check_kind(config)
        self.config, self.class_names, self.tokenizer = dict(config), tuple(class_names), tokenizer
        self.generation = GENERATIONS[config["recipe"]](config, tokenizer.network, tuple(video_shape), len(class_names))
        self.params, self.batch_size = jax.device_put(params), batch_size
        self._programs: dict[Any, Callable] = {}

    @classmethod
    def load(
        cls, source: str | os.PathLike, *, weights: str = "ema", step: int | str = "best",
        tokenizer: str | os.PathLike | None = None, data_dir: os.PathLike | None = None, batch_size: int = 8,
    ) -> "VideoGenerator":
        """A generator from a run's directory or an exported folder, by a shipped one's name, or of others' weights.

        Args:
          source: the directory or name; a directory of that name wins. "maskgit:FILE" and its like: see ``compat``.
          weights: "ema" (the parameters themselves where the run has no average) or "params", of a run.
          step: "best", "last" or a number, of a run.
          tokenizer: where the run's tokenizer lies now; None for where its config says. Of others' weights, their
            tokenizer's source, where it does not lie beside them under its public name.
          data_dir: root of the data sets, which are asked for names of classes that the config does not tell.
          batch_size: see the class.

        Raises:
          FileNotFoundError: there is no such generator or tokenizer; the message lists the shipped ones.
          ValueError: the tokenizer is not the one that the transformer was trained with.
        """
        if theirs := foreign(source, step):
            return cls._of_others(source, theirs.read("generator", weights), tokenizer, batch_size)
        folder = pathlib.Path(source).expanduser()
        if not folder.is_dir():
            folder = shipped("generator").get(str(source), folder)
        if is_bundle(folder):
            if (weights, step) != ("ema", "best"):
                raise ValueError(f"{folder} is an exported generator with one set of weights; leave out weights, step.")
            config, params = read_bundle(folder)
            params = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
            if "generator" not in config:
                raise ValueError(f"{folder} holds a tokenizer; load it with VideoTokenizer.load.")
            facts = config["generator"]
            found = VideoTokenizer.load(tokenizer or facts["tokenizer"])
            check_tokenizer(folder, facts["tokenizer_params"], found)
            return cls(config["run"], params, found, facts["video_shape"], facts["class_names"], batch_size=batch_size)
        if not (folder / "config.json").exists():
            refuse_dropped(source)
            names = ", ".join(shipped("generator")) or "none"
            raise FileNotFoundError(
                f"There is no generator {str(source)!r}: expected the directory of a run (with config.json), an "
                f"exported folder, the name of a shipped generator ({names}), {OTHER_WEIGHTS}."
            )
        config = stored_config(folder / "config.json")
        check_kind(config)
        from videogvt.pretrained.runs import generator_of_run  # its checkpoints and data, which a bundle does without

        parts = generator_of_run(folder, config, weights, step, tokenizer, data_dir)
        return cls(config, *parts, batch_size=batch_size)

    @classmethod
    def _of_others(cls, source, found: StoredGenerator, tokenizer, batch_size: int) -> "VideoGenerator":
        if not (tokenizer or found.tokenizer):
            raise ValueError(f"{os.fspath(source)} does not say which tokenizer it goes with; name it: "
                             "VideoGenerator.load(..., tokenizer=...).")
        first = VideoTokenizer.load(tokenizer or found.tokenizer)
        if first.num_codes != found.num_codes:
            raise ValueError(f"{os.fspath(source)} speaks of {found.num_codes} codes, and {first} has "
                             f"{first.num_codes}; name the tokenizer that it was trained with.")
        shape = tuple(cells * stride for cells, stride in zip(found.grid, first.strides))
        return cls(found.config, found.params, first, shape, found.class_names, batch_size=batch_size)

    def __repr__(self) -> str:
        return f"VideoGenerator({self.config['name']}, tasks {', '.join(self.tasks)})"

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks it was trained on; prediction and interpolation also take other numbers of frames."""
        return self.generation.tasks.names

    def generate(
        self, task: str | None = None, label: str | int | Sequence[str | int] | None = None, number: int = 4, *,
        seed: int = 0, video=None, keep_steps: bool = False, **decoding: Any,
    ) -> Generated:
        """Makes clips.

        Args:
          task: "CG", "FP:8", ...; None for the first it was trained on. See ``tasks``.
          label: a class, by name or number, or one for every clip; None for all classes in turn. For tasks by class.
          number: of clips.
          seed: of all that is random.
          video: what is given, for tasks that see pixels: one clip (T, H, W, 3) or (1, T, H, W, 3) for all, or
            (number, T, H, W, 3); uint8 or floats in [0, 1]. Frames after the last given one may be missing.
          keep_steps: also return what each decoding step did.
          decoding: fields of the decoding to change: steps, temperature, choice_temperature, guidance, schedule, ...;
            with ``sampler`` another one from its own defaults, see ``decode.samplers``.

        Warns:
          UserWarning: the tokenizer was trained on trajectories alone, and shows the given frames no better than their
            mean does.

        Raises:
          ValueError: an unknown task, class or field, with the legal ones; a video that is missing or does not fit.
        """
        options = {"seed": seed, "video": video, "keep_steps": keep_steps, **decoding}
        return self._generate(task, label, number, doubted=True, **options)

    def _generate(
        self, task: str | None, label: Any, number: int, *, seed: int, video: Any, doubted: bool,
        keep_steps: bool = False, **decoding: Any,
    ) -> Generated:
        """``generate``, with or without its warning."""
        task = self.tasks[0] if task is None else task
        if keep_steps and not isinstance(self.generation, MaskedGeneration):
            raise ValueError("This generator draws its codes one after another; there are no decoding steps to keep.")
        generation = with_decoding(with_task(self.generation, task, self.config["tasks"]), decoding)
        self._check_guidance(generation)
        labels = labels_of(task, label, number, self.class_names)
        video_BTHWC = given_clips(generation, task, video, number)
        if video is not None and doubted:
            one = np.ndim(video) == 4 or len(video) == 1
            self._doubt(video_BTHWC[:1] if one else video_BTHWC, generation.tasks.visible_nTHW[
                generation.tasks.index(task)])
        program, keys_B = self._program(generation, keep_steps), _keys(seed, number)
        size, parts = min(self.batch_size, 1 << (number - 1).bit_length()), []
        task_B = np.full(size, generation.tasks.index(task), np.int32)
        for start in range(0, number, size):
            rows = np.minimum(np.arange(start, start + size), number - 1)
            given = task_B, labels[rows], video_BTHWC[rows], keys_B[rows]
            given += self._outside(generation, video_BTHWC[rows], task_B)
            made = jax.device_get(program(self.params, self.tokenizer.params, *given))
            parts.append(jax.tree.map(lambda array, kept=number - start: array[:kept], made))
        made = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
        steps = {}
        if keep_steps:
            steps = {name: getattr(made["steps"], name).reshape(number, -1, *generation.latent_shape)
                     for name in ("tokens", "masked")}
        return Generated(self._videos(made), made["codes"], labels, **steps)

    def _check_guidance(self, generation: Generation) -> None:
        guidance = getattr(generation.decoding, "guidance", 0)
        if guidance and not self.config.get("losses", {}).get("class_dropout"):
            warnings.warn(
                f"guidance={guidance} leads away from what the network makes without a class, and this one saw no clip "
                "without in training (losses.class_dropout was 0): expect worse clips, or leave guidance at 0.",
                stacklevel=4)

    def _outside(self, generation: Generation, video_BTHWC: np.ndarray, task_B: np.ndarray) -> tuple[np.ndarray, ...]:
        """The codes of conditions, where a codec outside makes them; zeros where a task is given nothing."""
        if not generation.outside:
            return ()
        if not generation.tasks.visible_nTHW[task_B[0]].any():
            return (np.zeros((len(task_B), *generation.latent_shape), np.int32),)
        name = generation.tasks.names, "condition"
        if name not in self._programs:
            tasks = generation.tasks
            self._programs[name] = jax.jit(lambda video, task_B: tasks.condition_video(as_float(video), task_B))
        return (self.tokenizer.codes(np.asarray(self._programs[name](video_BTHWC, task_B))),)

    def _videos(self, made: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """What the program decoded, or a codec does now; None where there is none."""
        if not self.generation.outside:
            return made["video"]
        return self.tokenizer.video(made["codes"]) if self.tokenizer.codec is not None else None

    def extend(
        self, video_BTHWC, num_frames: int, *, given: int, overlap: int = 0, label=None, seed: int = 0, **decoding: Any
    ) -> np.ndarray:
        """Videos that go on: each clip is predicted from the last frames of what there is; see ``decode.extend``.

        Args:
          video_BTHWC: at least ``given`` frames, uint8 or floats in [0, 1].
          num_frames: of the result.
          given: frames that each clip is predicted from, fewer than a clip has.
          overlap: frames that are faded from one prediction into the next.
          label: a class, for generators trained on CFP; the others are trained on FP.
          seed, decoding: see ``generate``.
        """
        task = f"{'FP' if label is None else 'CFP'}:{given}"
        video_BTHWC = as_float(np.asarray(video_BTHWC))
        seeds, asked = np.random.default_rng(seed), []  # the first part is given, the others are the generator's own

        def predict(condition_BTHWC, part):
            doubted = not asked
            asked.append(task)
            options = {"seed": int(seeds.integers(2**31)), "video": condition_BTHWC, **decoding}
            return self._generate(task, label, len(condition_BTHWC), doubted=doubted, **options).videos

        return np.asarray(extend(predict, jnp.asarray(video_BTHWC), num_frames, given=given, overlap=overlap))

    def _doubt(self, video_BTHWC: np.ndarray, visible_THW: np.ndarray) -> None:
        """Warns where the tokenizer cannot show the frames that a clip begins with and that are given whole."""
        whole_T = visible_THW.all((1, 2))
        given = len(whole_T) if whole_T.all() else int(whole_T.argmin())
        if problem := poor_reading(self.tokenizer, video_BTHWC[:, :given], "The tokenizer of this generator"):
            warnings.warn(problem, stacklevel=4)

    def _program(self, generation: Generation, keep_steps: bool) -> Callable:
        """The compiled function; a generator keeps those it has made."""
        name = generation.tasks.names, generation.decoding, keep_steps
        if name not in self._programs:
            options = {"keep_steps": True} if keep_steps else {}
            self._programs[name] = jax.jit(functools.partial(generation, **options))
        return self._programs[name]


def check_kind(config: Mapping[str, Any]) -> None:
    """An error unless a config's runs generate."""
    if config["recipe"] not in GENERATIONS:
        raise ValueError(f"{config['name']} is the run of a {config['recipe']}, which generates nothing; expected one "
                         f"of a {' or '.join(GENERATIONS)}.")


def _keys(seed: int, number: int) -> jax.Array:
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), jnp.arange(number))
