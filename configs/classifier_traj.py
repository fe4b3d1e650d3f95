"""Do codes of a trajectory video carry the trajectory? One table: codes, pixels and tracks, each with its controls.

    python run.py --config=configs/classifier_traj.py              # four methods, 3 seeds, 8,000 and 200 labels
    python run.py --config=configs/classifier_traj.py:codes        # one method by its name
    python run.py --config=configs/classifier_traj.py:judge        # the judge: minutes on a laptop's two cores

Variants by argument:

    default   attention pooling on codes with its controls, the simple 3-D CNN, boosted track features, the oracle
    all       the methods below but local_codes at 50, 200, 1,200 and 8,000 labels, learning rates chosen on validation
    <method>  one method by its name, at the default's numbers of labels
    positions the next position: in the picture from codes, pixels and tracks, and in the world from codes
    stereo    the next position in metres, in the left camera's frame, from both cameras
    classic4, report4  the default's methods on the four-class settings of earlier work, at 200, 1,200 and 8,000 labels
    pretrained  somebody's encoder beside the same network with random weights, on clips of 5 frames at 128 px
    <study>/<method>  one method of such a study, as in stereo/codes
    judge     not a study: a small convolution network of 96,329 parameters that looks where the ball is
    judge_refilmed  the judge on clips whose paths are mirrored and turned; not measured yet
    tiny, judge_tiny  a few steps, for the tests

Methods on codes: codes (attention pooling), linear_probe, mlp, code_transformer; latents (attention pooling on them);
local_codes (attention pooling on codes that see their cell alone, of clips and their mirror images, three passes over
8,000 labels). On pixels: cnn3d, frame_cnn_attention, i3d, slowfast, vivit. On tracks: tracks (boosting), tracks_linear,
and oracle, which fits each family's motion to a clip's track and learns from no label. In ``all`` the methods are also
asked about the test split of hard64, which is built first: the same motions, filmed with blur and noise over a grid,
behind a post.

The codes are those of ``methods.<name>.tokenizer.run``: the tokenizer that ships, or a run such as ``runs/vqvae_traj``.
All methods learn from the same clips for the same number of passes, with the learning rates below or, in ``all`` and
with ``--config.study.rates=0.3,1,3``, those that do best on validation; the checkpoint is the best on validation. A
study that was stopped goes on where it was.

``pretrained`` asks whether the training of an encoder adds anything. Its method reads what the encoder's codes stand
for; controls are the same network with random weights, and shuffled labels; beside it are tracks:

    python run.py --config=configs/classifier_traj.py:pretrained \\
        --config.methods.pretrained.tokenizer.run=maskgit:tokenizer_imagenet256_checkpoint

or ``open_magvit2:FILE``, a run, an exported folder or a shipped name. It was run with random weights alone, in
the tests.

The judge names the families of generated clips, and its feature maps are a perceptual network for the tokenizer:
``config.perceptual = {"network": "judge", "workdir": "runs/classifier_traj-judge"}``, as in
``configs/vqvae_traj.py:gan``. Its 1,000 steps of 32 clips, 4 epochs, take about 4 minutes on two cores; expected is an
accuracy of at least 97 % on the test split, chance being 20 %.

The default takes just under 20 minutes on two cores, two thirds of them the 3-D CNN's, which sees 30,000 clips; in the
studies of four classes it sees 45,000. ``all`` was not run to its end. Scores are in docs/classification.md.
"""

from ml_collections import ConfigDict, config_dict

DEFAULT = ("codes", "cnn3d", "tracks", "oracle")
CONTROLS = ("untrained", "shuffled_labels", "first_frame", "start_position", "shuffled_time")


def get_config(variant: str = "default") -> ConfigDict:
    """The config of a variant."""
    methods = _methods()
    variants = {
        "default": lambda: _study(DEFAULT), "all": _all, "positions": _positions,
        "stereo": _stereo, "pretrained": _pretrained,
        "classic4": lambda: _other_world("classic4"), "report4": lambda: _other_world("report4"),
        "judge": _judge, "judge_refilmed": _judge_refilmed, "tiny": _tiny, "judge_tiny": _judge_tiny,
    } | {method: lambda method=method: _study((method,)) for method in methods} | {
        "local_codes": lambda: _study(("local_codes",), epochs=(3, 10))}
    study, _, method = variant.partition("/")
    if study not in variants:
        raise ValueError(f"configs/classifier_traj.py has no variant {study!r}; it has {', '.join(variants)}.")
    config = variants[study]()
    if method:
        there = tuple(config.get("methods", ()))
        if method not in there:
            raise ValueError(f"The variant {study!r} has no method {method!r}; it has {', '.join(there) or 'none'}.")
        config.methods = ConfigDict({method: config.methods[method]})
        config.study.subject = method
    config.name = "classifier_traj" if variant == "default" else f"classifier_traj-{variant.replace('/', '-')}"
    return config


def _methods() -> dict[str, dict]:
    """All methods; what differs between them."""

    def codes(network: str, rate: float, controls=(), given="codes", **fields) -> dict:
        method = {"recipe": "classifier", "batch_size": 4, "controls": controls, "examples": {"input": given},
               "tokenizer": {"run": "traj64", "step": "best"}, "classifier": {"network": network, **fields},
               "optimizer": {"learning_rate": rate, "muon": True, "b1": 0.9, "weight_decay": 0.1}}
        return method | ({"init_from": {"token_embeddings": "codebook"}} if given == "codes" else {})

    def pixels(network: str, rate: float, muon: bool = False, **fields) -> dict:
        return {"recipe": "classifier", "batch_size": 8, "controls": (), "examples": {"input": "pixels"},
                "classifier": {"network": network, **fields},
                "optimizer": {"learning_rate": rate, "muon": muon, "b1": 0.9, "weight_decay": 0.1 if muon else 0.01}}

    def tracks(kind: str) -> dict:
        return {"recipe": "tracks", "controls": (), "examples": {"input": "tracks"}, "track_model": {"kind": kind}}

    local = codes("attention_pooling", 1e-3, CONTROLS, queries=2, values=2)  # chosen on validation, with 200 labels
    local["tokenizer"]["run"] = "local64_8x4x4"
    local["examples"]["mirrored"] = True
    local["init_from"]["token_embeddings"] = "decoded"  # what is where in its cell only the index of a local code says
    return {
        "codes": codes("attention_pooling", 1e-3, CONTROLS), "linear_probe": codes("linear_probe", 3e-3),
        "mlp": codes("mlp", 1e-3), "code_transformer": codes("code_transformer", 1e-3),
        "latents": codes("attention_pooling", 1e-3, given="latents"), "cnn3d": pixels("cnn3d", 2e-3),
        "frame_cnn_attention": pixels("frame_cnn_attention", 5e-4), "i3d": pixels("i3d", 1e-3),
        "slowfast": pixels("slowfast", 1e-3), "vivit": pixels("vivit", 1e-3, muon=True),
        "tracks": tracks("boosting"), "tracks_linear": tracks("linear"),
        "oracle": {"recipe": "oracle", "controls": (), "examples": {"input": "oracle"}},
        "local_codes": local,
    }


def _study(names: tuple[str, ...], labels=(8000, 200), epochs=(1, 10), seeds: int = 3) -> ConfigDict:
    """A study of some methods; ``epochs`` are passes over so many ``labels``."""
    config = ConfigDict()
    config.recipe = "study"
    config.seed = 0

    config.study = ConfigDict()
    config.study.labels = labels
    config.study.epochs = epochs
    config.study.seeds = seeds
    config.study.rates = ()  # factors of each method's learning rate that are tried first; () for none
    config.study.rate_labels = 200  # labels they are tried on, one of ``labels``
    config.study.validations = 2  # turns of validation in each training
    config.study.subject = "codes" if "codes" in names else names[0]  # the method that the verdict is about
    config.study.also = ()  # worlds whose test splits the methods are asked about too
    config.study.corrupted_clips = 0  # test clips that are corrupted by noise, blur and occlusion; 0 for none

    config.data = ConfigDict({"source": "trajectories", "options": {"config": "mono64"}})
    config.methods = ConfigDict({name: method for name, method in _methods().items() if name in names})
    config.losses = ConfigDict({"label_smoothing": 0.0, "position": 0.0, "ema_decay": 0.98})

    config.train = ConfigDict()
    config.train.log_every = 50
    config.train.best = config_dict.placeholder(str)
    config.train.best = "eval/validation/accuracy"
    config.train.best_mode = "max"
    config.train.show = ("loss", "accuracy")

    config.evals = ConfigDict()
    config.evals.splits = ("test",)  # that are measured at the end, once; validation is in any case
    config.evals.limit = 500  # validation clips per turn
    config.evals.batch_size = 64

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _all() -> ConfigDict:
    config = _study(tuple(name for name in _methods() if name != "local_codes"), (8000, 1200, 200, 50), (2, 8, 20, 40))
    config.study.rates = (0.3, 1, 3)
    config.study.also = ("hard64",)
    config.study.corrupted_clips = 200
    config.evals.splits = ("test", "ood")
    return config


def _pretrained() -> ConfigDict:
    """An encoder that others trained. The controls carry the question: codes of the network before any training."""
    config = _study(("tracks",), (1000, 200), (4, 10))
    method = _methods()["latents"]  # what codes stand for, and no table of theirs, which may have 262,144 rows
    method["controls"] = ("untrained", "shuffled_labels")
    method["tokenizer"]["run"] = config_dict.placeholder(str)
    config.methods.pretrained = ConfigDict(method)
    config.study.subject = "pretrained"
    config.data.options.update({"config": "mono128", "clips": 1000, "frames": 5})
    return config


def _other_world(name: str) -> ConfigDict:
    config = _study(DEFAULT, (8000, 1200, 200), (1, 4, 10))
    config.data.options.config = name
    return config


def _asking(config: ConfigDict, target: str) -> ConfigDict:
    """The methods asked for a position instead of the class, without controls, which are about classes."""
    for method in config.methods.values():
        method.controls = ()
        method.examples.update({"target": target, "classes": False})
        if method.examples.input == "codes":  # what did best on validation
            method.batch_size = 32
            method.classifier.update({"blocks": 2, "queries": 16, "values": 8})
            method.optimizer.weight_decay = 2.0
    config.losses.position = 1.0
    config.losses.ema_decay = 0.995
    config.train.best = "eval/validation/position_error"
    config.train.best_mode = "min"
    config.train.show = ("loss",)
    return config


def _positions() -> ConfigDict:
    config = _asking(_study(("codes", "cnn3d", "tracks"), (8000,), (14,)), "next_pixel")
    world = ConfigDict(config.methods.codes.to_dict())
    world.examples.target = "next_world"
    config.methods.codes.examples.mirrored = True  # the world has no mirror image in the picture
    config.methods.codes_to_world = world
    return config


def _stereo() -> ConfigDict:
    config = _asking(_study(("codes", "cnn3d"), (8000,), (10,)), "next_metric")
    config.data.options.update({"config": "stereo64", "clips": 8000})
    for method in config.methods.values():
        method.examples.views = True
    return config


def _tiny() -> ConfigDict:
    """A few steps of every kind for the tests; it learns next to nothing. The tests name the tokenizer."""
    config = _study(DEFAULT, (40, 20), (1, 1), 1)
    config.data.options.config = "tiny"
    config.study.validations = 1
    config.study.corrupted_clips = 6
    config.evals.splits = ("test", "ood")
    config.methods.codes.controls = ("shuffled_labels", "start_position")
    config.methods.codes.classifier.update({"width": 8, "features": 8, "queries": 3, "hidden": 8})
    config.methods.cnn3d.classifier.update({"filters": (3, 4), "hidden": 8})
    config.methods.tracks.track_model.update({"kind": "linear"})
    config.evals.limit = 10
    config.evals.batch_size = 20
    for method in config.methods.values():
        if method.recipe == "classifier":
            method.batch_size = 20
    return config


def _judge() -> ConfigDict:
    config = ConfigDict()
    config.recipe = "classifier"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "trajectories"
    config.data.options = ConfigDict({"config": "mono64"})
    config.data.transforms = ConfigDict({"random_flip": {}})  # a mirrored motion is of the same family
    config.data.batch_size = 32

    config.classifier = ConfigDict()
    config.classifier.network = "judge"
    config.classifier.patch = (2, 8, 8)
    config.classifier.filters = 32
    config.classifier.blocks = 1
    config.classifier.heads = 4
    config.classifier.width = 64
    config.classifier.motion_blocks = 2

    config.losses = ConfigDict()
    config.losses.label_smoothing = 0.0
    config.losses.ema_decay = 0.99

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 3e-3
    config.optimizer.b1 = 0.9
    config.optimizer.warmup_steps = 20
    config.optimizer.weight_decay = 0.01

    config.train = ConfigDict()
    config.train.steps = 1000
    config.train.log_every = 50
    config.train.save_every = 250
    config.train.best = "eval/validation/accuracy"
    config.train.best_mode = "max"
    config.train.show = ("loss", "accuracy")

    config.evals = ConfigDict()
    config.evals.every = 250
    config.evals.limit = None  # validation clips per turn; all
    config.evals.batch_size = 64

    config.mesh = ConfigDict({"data": -1, "model": 1})
    return config


def _judge_refilmed() -> ConfigDict:
    """The judge with clips filmed anew, half of them mirrored and all turned by up to 17 degrees.

    What it is worth shows with few clips: --config.data.options.clips=200, beside ``judge`` with as many.
    """
    config = _judge()
    config.data.transforms = ConfigDict({"random_path": {"mirror": 0.5, "turn": 0.3}})
    return config


def _judge_tiny() -> ConfigDict:
    """Two steps for the tests; it learns nothing."""
    config = _judge()
    config.data.options.config = "tiny"
    config.data.batch_size = 4
    config.classifier.filters = 8
    config.classifier.heads = 2
    config.classifier.width = 16
    config.classifier.motion_blocks = 1
    config.optimizer.warmup_steps = 1
    config.train.steps = 2
    config.train.log_every = 1
    config.train.save_every = 1
    config.evals.every = 1
    config.evals.limit = 10
    config.evals.batch_size = 4
    return config
