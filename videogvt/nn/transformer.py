"""The masked transformer over codes: a BERT with learned positions, full attention and a tied head.

MAGVIT (arXiv 2212.05199, section 3 and appendix) predicts all codes of a clip at once with BERT (arXiv 1810.04805).
This is the one its released code builds, "simplified_bert", to the letter: names of parameters, post-norm layers,
epsilon 1e-12, tanh GELU, biases everywhere, initial values. ``norm="pre"``, ``rotary``, ``codebook_embeddings``,
``causal_frames`` and ``conditions_ahead`` are variants of ours.

    x = drop(LN(word[token] + position[index] (+ segment[0 or 1])))              embedding, not scaled by sqrt(D)
    x = LN(x + drop(attention(x)));  x = LN(x + drop(W2 gelu(W1 x + b1) + b2))   every layer, post-norm
    x = x + drop(attention(LN(x)));  x = x + drop(W2 gelu(W1 LN(x) + b1) + b2)   every layer, pre-norm; then one LN
    logits = LN(gelu(W x + b)) word^T + bias                                     head, tied, not divided by sqrt(D)
"""

import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from videogvt.core.registry import unknown_name
from videogvt.nn.blocks import NORMS, BertEmbed, BertLayer, BertMlmLayer, Style, check_tokens
from videogvt.nn.frames import Layout, frame_by_frame, given_ahead, whole
from videogvt.nn.linear import check_codebook
from videogvt.ops.attention import angles, empty_cache


class MaskedTransformer(nn.Module):
    """Logits of every position's token from the tokens of all positions.

    The parameter tree is that of the official module. Pre-norm takes the two norms of a layer to its inputs under names
    of their own (``attention_input_ln``, ``layer_input_ln``) and adds ``final_ln``; a checkpoint of the one therefore
    does not load into the other.

    Attributes:
      vocab_size: V, see ``models.vocabulary``.
      sequence_length: L, the prefix and all codes of a clip; every input has this length.
      layers: how many.
      hidden: D, the width.
      heads: A, divides D.
      mlp: width inside the MLP.
      dropout: rate on the embedding and on both branches of every layer.
      attention_dropout: rate on the attention's probabilities, drawn anew for every sample and head; see
        ``SelfAttention`` for its cost.
      norm: "post", as released, or "pre", which trains deep models with less warm-up.
      attention: ``implementation`` of ``jax.nn.dot_product_attention``: None, "xla" or "cudnn".
      rotary: whether queries and keys also turn with their place in the grid, ``ops.attention``, beside the learned
        positions. It has no parameters.
      grid: (t, h, w) of the codes, the last positions of the sequence; needed with ``rotary``.
      segment_embeddings: whether positions that show a condition token get a vector of their own.
      codebook_embeddings: whether codes' token embeddings also have a part that is linear in the codes' vectors,
        the tokenizer's, one for reading and one for answering; see ``nn.linear``.
      causal_frames: whether a code sees its own frame of codes and those before it, and no later one; needs ``grid``.
        Then a clip's frames can all be learned at once from the true ones before each: see ``taught_BL`` below.
      conditions_ahead: with ``causal_frames``, whether a code also sees what a task gives of later frames, as condition
        tokens in their places, see ``nn.frames``. It has no parameters: where nothing is given it changes nothing.
      remat: whether the backward pass computes every layer anew instead of storing what is inside.
      dtype: of the computation; statistics of norms, softmax and logits are float32 in any case.
      param_dtype: of the parameters.
    """

    vocab_size: int
    sequence_length: int
    layers: int = 12
    hidden: int = 768
    heads: int = 12
    mlp: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    norm: Literal["post", "pre"] = "post"
    attention: Literal["xla", "cudnn"] | None = None
    rotary: bool = False
    grid: tuple[int, int, int] | None = None
    segment_embeddings: bool = False
    codebook_embeddings: bool = False
    causal_frames: bool = False
    conditions_ahead: bool = False
    remat: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        if self.norm not in NORMS:
            raise ValueError(unknown_name("norm", self.norm, NORMS))
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden; found hidden={self.hidden} and heads={self.heads}.")
        for name in ("rotary", "causal_frames"):
            if getattr(self, name) and (self.grid is None or math.prod(self.grid) > self.sequence_length):
                raise ValueError(f"{name}=True needs the grid (t, h, w) of the codes, at most sequence_length="
                                 f"{self.sequence_length} of them; found grid={self.grid}.")
        if self.conditions_ahead and not self.causal_frames:
            raise ValueError(
                "conditions_ahead=True is for networks with causal_frames, whose codes would see nothing of what is "
                "given of later frames; found causal_frames=False. Set conditions_ahead = False, or causal_frames = "
                "True.")
        if self.rotary:
            angles(self.grid, 0, self.hidden // self.heads)  # refuses heads that are too narrow
        super().__post_init__()

    def __call__(self, tokens_BL, *, segments_BL=None, codebook_KC=None, taught_BL=None, ahead_BN=None,
                 train: bool = False, start: int = 0, ids: int | None = None):
        """Logits, float32 (B, L - start, ids).

        Args:
          tokens_BL: integers in 0..V-1. Others are a ``ValueError`` where values are at hand; inside jit they make the
            sample's logits nan.
          segments_BL: 1 where a condition token is shown, else 0; needed with ``segment_embeddings``, otherwise unused.
          codebook_KC: the vectors of the first K ids; needed with ``codebook_embeddings``, otherwise unused.
          taught_BL: with ``causal_frames``, tokens of which every frame of ``tokens_BL`` sees the prefix and the frames
            before its own in place of those in ``tokens_BL``, so that one call learns what sampling one frame after
            another asks for (complete teacher forcing, MAGI, arXiv 2501.12389). ``start`` is then the prefix's length.
          ahead_BN: with ``conditions_ahead``, condition tokens, -1 where nothing is given; None for nothing anywhere.
          train: whether to drop; needs an rng "dropout" unless both rates are 0.
          start: the first position whose logits are asked for.
          ids: how many ids' logits, from 0 on; None for all V.
        """
        parts = [self._inputs(tokens_BL, segments_BL)]
        if taught_BL is not None:
            self._check_taught(taught_BL, start)
            told = [beside if beside is None else beside[:, start:] for beside in parts[0]]
            parts = [self._inputs(taught_BL, segments_BL), told]
        if ahead_BN is not None:
            parts.append(self._given(ahead_BN))
        layout = whole(self.grid, self.sequence_length, causal=self.causal_frames, taught=taught_BL is not None,
                       ahead_BN=ahead_BN, start=start)
        joined = (None if kind[0] is None else jnp.concatenate(kind, axis=1) for kind in zip(*parts))
        return self._forward(*joined, codebook_KC, layout, train, ids=ids)[0]

    def init_cache(self, batch: int):
        """Keys and values of no inputs yet; see ``ops.attention.empty_cache``."""
        length = self.sequence_length + (self.sequence_length - self._prefix if self.conditions_ahead else 0)
        shape = (batch, length, self.heads, self.hidden // self.heads)
        return empty_cache(self.layers, shape, self.dtype)

    def look_ahead(self, ahead_BN, cache, *, codebook_KC=None):
        """The cache with what is given, for networks with ``conditions_ahead``, after the prefix was stepped through.

        Args:
          ahead_BN: see ``__call__``; the steps that follow are to be told the same.
          cache: with the prefix.
          codebook_KC: see ``__call__``.
        """
        layout = given_ahead(self.grid, self.sequence_length, ahead_BN)
        return self._forward(*self._given(ahead_BN), codebook_KC, layout, cache=cache)[2]

    def step(self, tokens_Bk, position, cache, *, segments_BL=None, codebook_KC=None, ahead_BN=None,
             ids: int | None = None):
        """What ``__call__`` says at the prefix, or at one frame of codes, for networks with ``causal_frames``.

        Pure, so that a scan can go through it: ``model.apply(variables, tokens_Bk, position, cache, method="step")``.

        Args:
          tokens_Bk: the prefix, or a frame's codes.
          position: of the first of them, an integer or a traced one. All before it were stepped through, in order.
          cache: of ``init_cache``, or what the last step of what comes before returned.
          segments_BL, codebook_KC, ids: see ``__call__``; segments of these k tokens alone.
          ahead_BN: what ``look_ahead`` was told; None where it was not asked.

        Returns:
          Logits (B, k, ids), float32, and the cache with these tokens.
        """
        if not self.causal_frames:
            raise ValueError("step is for networks with causal_frames, and this one sees all frames at once.")
        tokens_Bk = jnp.asarray(tokens_Bk)
        check_tokens(tokens_Bk, self.vocab_size)
        segments_BL = self._segments(segments_BL, tokens_Bk.shape)
        if self.conditions_ahead and ahead_BN is None:
            ahead_BN = jnp.full((len(tokens_Bk), self.sequence_length - self._prefix), -1)
        layout = frame_by_frame(self.grid, self.sequence_length, tokens_Bk.shape[1], position, ahead_BN)
        logits, _, cache = self._forward(tokens_Bk, segments_BL, codebook_KC, layout, ids=ids, cache=cache)
        return logits, cache

    def attention_maps(self, tokens_BL, *, segments_BL=None, codebook_KC=None):
        """Who attends to whom: float32 probabilities (layers, B, A, L, L), of which the last axis sums to 1."""
        inputs = self._inputs(tokens_BL, segments_BL)
        layout = whole(self.grid, self.sequence_length, causal=self.causal_frames)
        return jnp.stack(self._forward(*inputs, codebook_KC, layout, maps=True)[1])

    @nn.compact
    def _forward(self, tokens_BL, segments_BL, codebook_KC, layout: Layout, train: bool = False, maps: bool = False,
                 ids: int | None = None, cache=None):
        check_codebook(self.codebook_embeddings, codebook_KC, self.vocab_size)
        codebook_KC = codebook_KC if self.codebook_embeddings else None
        caches, angles_Lp = list(cache or [None] * self.layers), None
        if self.rotary:
            of_all_Lp = angles(self.grid, self._prefix, self.hidden // self.heads)
            angles_Lp = of_all_Lp[layout.places_L] if cache is None else jnp.asarray(of_all_Lp)[layout.places_L]
        style = Style(
            self.hidden, self.heads, self.mlp, self.dropout, self.attention_dropout, self.norm == "pre",
            self.attention, self.dtype, self.param_dtype, train, maps, layout, angles_Lp)
        x_BLD, words_VD = BertEmbed(self.vocab_size, self.sequence_length, style, name="BertEmbed_0")(
            tokens_BL, segments_BL, codebook_KC)
        layer = nn.remat(BertLayer) if self.remat else BertLayer
        found = []
        for index in range(self.layers):
            x_BLD, maps_BALL, caches[index] = layer(style, name=f"BertLayer_{index}")(x_BLD, caches[index])
            found.append(maps_BALL)
        if style.pre_norm:
            x_BLD = style.norm("final_ln")(x_BLD)
        answered_BLD = x_BLD[:, layout.start:layout.stop]
        logits_BLK = BertMlmLayer(style, name="BertMlmLayer_0")(answered_BLD, words_VD, ids, codebook_KC)
        return logits_BLK, found, tuple(caches)

    @property
    def _prefix(self) -> int:
        return self.sequence_length - math.prod(self.grid)

    def _inputs(self, tokens_BL, segments_BL):
        tokens_BL = self._checked(tokens_BL)
        return tokens_BL, self._segments(segments_BL, tokens_BL.shape)

    def _given(self, ahead_BN):
        """Inputs that stand for what is given; where nothing is nobody looks at them."""
        if not self.conditions_ahead:
            raise ValueError("ahead_BN is for networks with conditions_ahead, and this one would not see it.")
        tokens_BN = jnp.maximum(jnp.asarray(ahead_BN), 0)
        check_tokens(tokens_BN, self.vocab_size)
        return tokens_BN, jnp.ones_like(tokens_BN) if self.segment_embeddings else None

    def _check_taught(self, taught_BL, start: int) -> None:
        if not self.causal_frames:
            raise ValueError("taught_BL is for networks with causal_frames, and this one sees all frames.")
        if start != self._prefix:
            raise ValueError(f"Found start={start} with taught_BL; expected {self._prefix}, the prefix's length.")

    def _checked(self, tokens_BL):
        tokens_BL = jnp.asarray(tokens_BL)
        check_tokens(tokens_BL, self.vocab_size)
        if tokens_BL.ndim != 2 or tokens_BL.shape[1] != self.sequence_length:
            raise ValueError(
                f"Found tokens of shape {tokens_BL.shape}; expected (B, {self.sequence_length}), the prefix and all "
                "codes of a clip. Set sequence_length to the prefix's length plus t * h * w.")
        return tokens_BL

    def _segments(self, segments_BL, shape: tuple[int, int]):
        """The segment ids of positions; None where the network has no use for them."""
        if not self.segment_embeddings:
            return None
        if segments_BL is None or segments_BL.shape != shape:
            found = None if segments_BL is None else segments_BL.shape
            raise ValueError(f"segment_embeddings needs segments_BL of shape {shape}; found {found}.")
        return jnp.asarray(segments_BL)
