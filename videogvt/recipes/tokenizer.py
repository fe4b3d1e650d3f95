"""Training the video tokenizer: a 3-D VQ autoencoder, alone or against a 3-D discriminator (paper 3.1)."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from videogvt.nn.discriminator import Discriminator
from videogvt.nn.quantizers import perplexity, restart_dead_codes
from videogvt.nn.tokenizer import TokenizerNetwork
from videogvt.ops import losses
from videogvt.ops.video import as_float
from videogvt.recipes import flops
from videogvt.recipes.optimizer import Adam, Aux, gradients
from videogvt.train.contracts import Mean
from videogvt.train.parallel import RULES, Rules, path_name
from videogvt.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class TokenizerLosses:
    """Weights of the tokenizer's losses; the quantizer carries its own. Defaults are the paper's, without its networks.

    Attributes:
      reconstruction: of the mean squared error on pixels in [0, 1].
      background_weight: ours, 0 in the paper: a pixel whose distance from white is d counts 1 + background_weight * d.
        An object of a few pixels on white is otherwise outweighed by what is easy.
      gan: "none", or which adversarial loss: "non_saturating" (paper) or "hinge".
      adversarial: weight of the generator's adversarial loss.
      gan_start: step at which the generator begins to feel the discriminator, which itself trains from step 0.
      gan_ramp: steps over which the adversarial weight then rises linearly; 0 for at once.
      r1: of the gradient penalty on real clips, every step, without a factor of one half.
      lecam: of the LeCam regularisation; the paper names no weight, its successor 0.001.
      perceptual: of the mean squared distance between the perceptual network's outputs.
      entropy_boost: extra entropy weight at step 0, as a multiple, which falls linearly ...
      entropy_boost_steps: ... to nothing over so many steps.
      ema_decay: of the generator's moving average and of LeCam's.
    """

    reconstruction: float = 1.0
    background_weight: float = 0.0
    gan: Literal["none", "non_saturating", "hinge"] = "none"
    adversarial: float = 0.1
    gan_start: int = 0
    gan_ramp: int = 0
    r1: float = 10.0
    lecam: float = 0.001
    perceptual: float = 0.0
    entropy_boost: float = 0.0
    entropy_boost_steps: int = 0
    ema_decay: float = 0.999

    def __post_init__(self):
        if self.gan not in ("none", "non_saturating", "hinge"):
            raise ValueError(f"losses.gan is {self.gan!r}; expected 'none', 'non_saturating' or 'hinge'.")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"losses.ema_decay is {self.ema_decay}; expected at least 0 and less than 1.")

    def adversarial_weight(self, step: jax.Array) -> jax.Array:
        """The generator's adversarial weight at a step."""
        ramp = (step - self.gan_start) / max(self.gan_ramp, 1) if self.gan_ramp else step >= self.gan_start
        return self.adversarial * jnp.clip(ramp, 0.0, 1.0)

    def entropy_scale(self, step: jax.Array) -> jax.Array:
        """The factor on the quantizer's entropy loss at a step."""
        if not self.entropy_boost_steps:
            return jnp.float32(1.0)
        return 1.0 + self.entropy_boost * jnp.maximum(0.0, 1.0 - step / self.entropy_boost_steps)


@dataclasses.dataclass(frozen=True)
class TokenizerRecipe:
    """How to train a ``VideoTokenizer``; the loop's socket, see ``train.contracts.Recipe``.

    Networks by name: "generator" (the tokenizer, with a moving average), "discriminator" (only with a GAN) and,
    frozen, "perceptual". Both networks are updated at once from gradients taken at the same old parameters.

    Attributes:
      model: the tokenizer.
      losses: the weights.
      optimizer: of both networks, each with its own state.
      discriminator: judges clips; needed exactly if ``losses.gan`` is not "none".
      perceptual: ``(params, video_BTHWC in [0, 1]) -> features``; needed exactly if ``losses.perceptual`` is not 0.
      frozen: the perceptual network's parameters, as {"perceptual": params}, or {}.
      train_only: "all", or "decoder" for fine-tuning with encoder and codes fixed.
      restart_below: ours, 0 in the paper: a code that stands for fewer tokens a step than this, on average over about
        100 steps, becomes a latent of the current batch. So the codebook also starts from the first batches' latents.
      restart_from: latents of "all" cells alike, or of those "speaking", which do not have the code used most, in
        proportion to the squared distance from their code, as k-means++ seeds (Arthur and Vassilvitskii 2007). Latents
        of empty cells are nearly equal; codes that begin there only tell one kind of nothing from another.
      input_noise: ours, 0 in the paper: the encoder sees every value up to so much higher or lower, at random, and the
        reconstruction is compared with the clean video. So codes learn not to depend on the noise of a camera.
      continuous_steps: ours, 0 in the paper: for so many steps at first the decoder gets latents as they are, which no
        loss pulls to codes, while the codebook follows them. What the first codes can't say, such as a hue, the encoder
        otherwise forgets (data-dependent initialization after a warm-up, Łańcucki et al., arXiv 2005.08520).
      start: fills in weights of another run at step 0; None to start from random ones.
    """

    model: TokenizerNetwork
    losses: TokenizerLosses
    optimizer: Adam
    discriminator: Discriminator | None = None
    perceptual: Callable[[Any, jax.Array], jax.Array] | None = None
    frozen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train_only: Literal["all", "decoder"] = "all"
    restart_below: float = 0.0
    restart_from: Literal["all", "speaking"] = "all"
    input_noise: float = 0.0
    continuous_steps: int = 0
    start: Callable[[TrainState], TrainState] | None = None
    sharding_rules: Rules = RULES

    def __post_init__(self):
        if (self.losses.gan != "none") != (self.discriminator is not None):
            raise ValueError(
                f"losses.gan is {self.losses.gan!r} and there is {'a' if self.discriminator else 'no'} discriminator; "
                "configure both, or neither."
            )
        if bool(self.losses.perceptual) != (self.perceptual is not None):
            raise ValueError(
                f"losses.perceptual is {self.losses.perceptual} and there is {'a' if self.perceptual else 'no'} "
                "perceptual network; configure both, or neither."
            )
        if not 0 <= self.input_noise < 1:
            raise ValueError(f"input_noise is {self.input_noise}; expected at least 0 and less than 1, the range.")
        if self.restart_from not in ("all", "speaking"):
            raise ValueError(f"restart_from is {self.restart_from!r}; expected 'all' or 'speaking'.")
        if self.train_only not in ("all", "decoder"):
            raise ValueError(f"train_only is {self.train_only!r}; expected 'all' or 'decoder'.")
        if self.restart_below and (self.model.quantizer["name"] != "vq" or self.train_only != "all"):
            raise ValueError(
                f"restart_below is {self.restart_below}, which needs a codebook that is trained; found the quantizer "
                f"{self.model.quantizer['name']!r} and train_only={self.train_only!r}. Leave it at 0."
            )
        if self.continuous_steps and self.train_only != "all":
            raise ValueError(
                f"continuous_steps is {self.continuous_steps}, which needs an encoder that is trained; found "
                f"train_only={self.train_only!r}. Leave it at 0.")

    @property
    def predict_fns(self) -> Mapping[str, Callable]:
        """"reconstruct": (state, video_BTHWC) -> (video_BTHWC, codes_Bthw); "codes": (state, video) -> codes;
        "video": (state, codes) -> video; "embed": (state, codes) -> latents_BthwD, what the decoder gets. Videos are
        uint8 or float in [0, 1]; results are float in [0, 1]. All use the moving average."""
        return {"reconstruct": self._reconstruct, "codes": self._codes, "video": self._video, "embed": self._embed}

    def init(self, key: jax.Array, example_batch: Mapping[str, jax.Array]) -> TrainState:
        """Random networks, their optimizers, and a moving average equal to the random tokenizer."""
        generator_key, discriminator_key = jax.random.split(key)
        video_BTHWC = as_float(example_batch["video"])
        params = {"generator": self.model.init(generator_key, video_BTHWC)["params"]}
        extra = {}
        if self.discriminator is not None:
            params["discriminator"] = self.discriminator.init(discriminator_key, video_BTHWC)["params"]
            extra["lecam"] = {"real": jnp.zeros(()), "fake": jnp.zeros(())}
        if self.restart_below:
            extra["usage"] = jnp.zeros(self.model.num_codes)
        opt = {name: self._transformation(name).init(tree) for name, tree in params.items()}
        return TrainState.create(params=params, opt=opt, ema={"generator": params["generator"]}, extra=extra)

    def warm_start(self, state: TrainState) -> TrainState:
        """Weights of another run, if the recipe was given a start."""
        return self.start(state) if self.start is not None else state

    def step(self, state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array) -> tuple[TrainState, dict]:
        """One simultaneous update of both networks (paper 3.1; the gradient of each at the same old parameters)."""
        parts, grads = self.optimizer.accumulate, {}
        rows = {"video": as_float(batch["video"])}
        loss = functools.partial(self._generator_loss, state)
        grads["generator"], found = gradients(loss, state.params["generator"], rows, key, parts)
        usage_K, extra = found.sums["usage"], state.extra
        numbers = {**found.means, "batch_perplexity": perplexity(usage_K)}
        if self.discriminator is not None:
            rows |= {"reconstruction": jax.lax.stop_gradient(found.rows["reconstruction"])}
            loss = functools.partial(self._discriminator_loss, state)
            grads["discriminator"], judged = gradients(loss, state.params["discriminator"], rows, key, parts)
            lecam, judged = judged.means
            extra, numbers = extra | {"lecam": lecam}, numbers | judged
        params, opt = {}, {}
        for name, gradient in grads.items():
            updates, opt[name] = self._transformation(name).update(gradient, state.opt[name], state.params[name])
            params[name] = optax.apply_updates(state.params[name], updates)
        ema = optax.incremental_update(params["generator"], state.ema["generator"], 1.0 - self.losses.ema_decay)
        if self.restart_below:
            codebooks = [tree["quantizer"]["codebook"] for tree in (params["generator"], ema)]
            codebooks, usage, dead_K = self._restart(codebooks, extra["usage"], usage_K, found.rows, key)
            numbers["codes_restarted"] = dead_K.sum()
            opt["generator"] = _forgotten(opt["generator"], dead_K)
            params["generator"], ema = (
                tree | {"quantizer": {"codebook": codebook}}
                for tree, codebook in zip((params["generator"], ema), codebooks, strict=True)
            )
            extra = extra | {"usage": usage}
        numbers |= {f"grad_norm/{name}": optax.global_norm(gradient) for name, gradient in grads.items()}
        numbers["learning_rate"] = self.optimizer.schedule()(state.step)
        state = state.replace(params=params, opt=opt, ema={"generator": ema}, extra=extra)
        return state, {name: Mean.of(value) for name, value in numbers.items()}

    def flops(self, state: TrainState, batch: Mapping[str, Any]) -> float:
        """See ``train.contracts.Recipe``."""
        return flops.of_tokenizer(self, state, batch)

    def _generator_loss(self, state: TrainState, params, rows, key) -> tuple[jax.Array, Aux]:
        weights, video_BTHWC = self.losses, rows["video"]
        seen_BTHWC = self._noisy(video_BTHWC, key)
        continuous = state.step < self.continuous_steps if self.continuous_steps else False
        reconstruction_BTHWC, quantized = self.model.apply(
            {"params": params}, seen_BTHWC, train=True, entropy_scale=weights.entropy_scale(state.step),
            continuous=continuous)
        numbers = {
            "reconstruction": losses.reconstruction(
                video_BTHWC, reconstruction_BTHWC, background_weight=weights.background_weight
            )
        }
        total = weights.reconstruction * numbers["reconstruction"]
        for name, value in quantized.losses.items():
            numbers[f"quantizer/{name}"] = value
            total += jnp.where(continuous, 0.0, value) if name == "commitment" else value
        if self.perceptual is not None:
            features = [self.perceptual(state.frozen["perceptual"], v) for v in (video_BTHWC, reconstruction_BTHWC)]
            numbers["perceptual"] = jnp.mean(jnp.square(features[0] - features[1]))
            total += weights.perceptual * numbers["perceptual"]
        if self.discriminator is not None:
            fake_B = self.discriminator.apply({"params": state.params["discriminator"]}, reconstruction_BTHWC)
            numbers["adversarial"] = losses.generator_gan(fake_B, weights.gan)
            total += weights.adversarial_weight(state.step) * numbers["adversarial"]
        own = {"reconstruction": reconstruction_BTHWC} if self.discriminator is not None else {}
        if self.restart_below:
            errors_Bthw = jnp.square(quantized.inputs_BthwD - quantized.latents_BthwD).sum(-1)
            own |= {"inputs": quantized.inputs_BthwD, "codes": quantized.codes_Bthw, "errors": errors_Bthw}
        return total, Aux(own, {"usage": quantized.stats["usage"]}, {"loss": total, **numbers})

    def _noisy(self, video_BTHWC, key):
        if not self.input_noise:
            return video_BTHWC
        noise_BTHWC = jax.random.uniform(key, video_BTHWC.shape, minval=-self.input_noise, maxval=self.input_noise)
        return jnp.clip(video_BTHWC + noise_BTHWC, 0.0, 1.0)

    def _discriminator_loss(self, state: TrainState, params, rows, key) -> tuple[jax.Array, Aux]:
        del key  # nothing here is random
        weights, averages = self.losses, state.extra["lecam"]
        real_B, penalty = losses.r1(lambda video: self.discriminator.apply({"params": params}, video), rows["video"])
        fake_B = self.discriminator.apply({"params": params}, rows["reconstruction"])
        adversarial = losses.discriminator_gan(real_B, fake_B, weights.gan)
        lecam = losses.lecam(real_B, fake_B, averages["real"], averages["fake"])
        total = adversarial + weights.r1 * penalty + weights.lecam * lecam
        means = {"real": real_B.mean(), "fake": fake_B.mean()}
        averages = optax.incremental_update(jax.lax.stop_gradient(means), averages, 1.0 - weights.ema_decay)
        numbers = {"total": total, "adversarial": adversarial, "r1": penalty, "lecam": lecam, **means}
        return total, Aux(means=(averages, {f"discriminator/{name}": value for name, value in numbers.items()}))

    def _restart(self, codebooks, usage_K, now_K, rows, key: jax.Array):
        """Codebooks with dead codes restarted, the usage from here on, and which codes that were."""
        usage_K = 0.99 * usage_K + 0.01 * now_K
        speaking = self.restart_from == "speaking"
        # Errors of nothing but rounding would be drawn by what hosts and devices round differently: all count alike.
        errors_Bthw = jnp.maximum(rows["errors"], 1e-4)
        weights_Bthw = errors_Bthw * (rows["codes"] != usage_K.argmax()) if speaking else None
        restarted = [
            restart_dead_codes(codebook, usage_K, rows["inputs"], key, threshold=self.restart_below,
                               weights_Bthw=weights_Bthw)
            for codebook in codebooks
        ]
        dead_K = restarted[0][1]
        usage_K = jnp.where(dead_K, 2.0 * self.restart_below, usage_K)  # 70 steps for a newcomer to prove itself
        return [codebook for codebook, _ in restarted], usage_K, dead_K

    def _transformation(self, network: str) -> optax.GradientTransformation:
        train = self.optimizer.transformation()
        if self.train_only == "all" or network != "generator":
            return train

        def labels(params):
            return {part: "train" if part == "decoder" else "fixed" for part in params}

        return optax.partition({"train": train, "fixed": optax.set_to_zero()}, labels)

    def _reconstruct(self, state: TrainState, video_BTHWC):
        video_BTHWC, quantized = self.model.apply({"params": state.ema["generator"]}, as_float(video_BTHWC))
        return jnp.clip(video_BTHWC, 0.0, 1.0), quantized.codes_Bthw

    def _codes(self, state: TrainState, video_BTHWC):
        return self.model.apply({"params": state.ema["generator"]}, as_float(video_BTHWC), method="codes")

    def _video(self, state: TrainState, codes_Bthw):
        return self.model.apply({"params": state.ema["generator"]}, codes_Bthw, method="video")

    def _embed(self, state: TrainState, codes_Bthw):
        return self.model.apply({"params": state.ema["generator"]}, codes_Bthw, method="embed")


def _forgotten(opt: optax.OptState, dead_K: jax.Array) -> optax.OptState:
    """An optimizer's state that remembers nothing of the codes that begin again: their rows are those of new ones."""

    def row_of_zeros(path, leaf):
        if not path_name(path).endswith("quantizer/codebook"):
            return leaf
        return jnp.where(dead_K[:, None], jnp.zeros_like(leaf), leaf)

    return jax.tree_util.tree_map_with_path(row_of_zeros, opt)
