"""In which limits the numbers of a config are: by the name of the key, which means the same wherever it stands.

What depends on other keys (a width that heads divide, say) is checked by the objects that sections configure.
"""

from videogvt.core.keys import Limits

COUNT, FROM_ZERO, POSITIVE, SHARE = Limits(1), Limits(0), Limits(0, above=True), Limits(0, 1)
BELOW_ONE = Limits(0, 1, below=True)


def _all(limits: Limits, names: str) -> dict[str, Limits]:
    return dict.fromkeys(names.split(), limits)


LIMITS = {
    # Sizes of networks and of clips
    **_all(COUNT, """
        filters channel_multipliers norm_groups stem embedding_dim num_codes width features queries values
        layers hidden heads num_heads mlp patch tubelet spatial_layers temporal depths alpha beta lateral_frames
        decoder_reach num_frames stride height width size block crops"""),
    **_all(FROM_ZERO, """
        encoder_blocks decoder_blocks blocks motion_blocks temporal_layers remat_levels fps workers clips"""),
    "levels": Limits(2), "num_bits": Limits(1, 18),
    # Weights of losses, and rates
    **_all(FROM_ZERO, """
        reconstruction background_weight adversarial gan_start gan_ramp r1 lecam perceptual entropy_boost
        entropy_boost_steps continuous_steps position commitment_weight codebook_weight entropy_weight restart_below
        weight_decay input_threshold latent_bias choice_temperature temperature top_k nucleus guidance warmup_steps
        penalty unmasked_weight turn"""),
    **_all(BELOW_ONE, """
        dropout attention_dropout label_smoothing class_dropout ema_decay b1 b2 input_noise contrast brightness"""),
    **_all(POSITIVE, """
        learning_rate adam_learning_rate norm_epsilon eps clip_norm entropy_temperature speaking_temperature weights
        rates"""),
    **_all(SHARE, "probability mirror reverse background shares max_unreadable frames_before corruption "
           "extra_conditions"),
    # Budgets
    **_all(COUNT, """
        steps epochs log_every save_every accumulate labels seeds validations rate_labels iterations min_samples"""),
    **_all(FROM_ZERO, "corrupted_clips"), "keep": Limits(2), "leaves": Limits(2),
    "data": Limits(-1), "model": Limits(-1), "seed": Limits(0, 2**31 - 1),
}
"""By the name of a key."""

WHERE = {
    ("options", "frames"): Limits(2),
    ("options", "fps"): POSITIVE, ("options", "clips"): COUNT, ("options", "workers"): COUNT,
    ("examples", "labels"): FROM_ZERO, ("classifier", "layers"): FROM_ZERO,
}
"""By section and key, where a name means something else."""


def limits_of(section: str, name: str) -> Limits | None:
    """The limits of the numbers of a key; None for none."""
    return WHERE.get((section, name), LIMITS.get(name))
