"""The same run again with what keeps features alive: centred rows, a tied start, and AuxK (docs/corrected.md).

A transcoder's features have one direction that is read and another that is written: its tied start is between what a
row reads and what it writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

#: Settings of the TopK family, and what they do in a line.
CURE: dict[str, tuple[Any, str]] = {
    "input_scaling": (True, "rows are centred and scaled"),
    "decoder_bias": (True, "there is a b_dec"),
    "b_dec_init": ("mean", "it starts at the mean row"),
    "subtract_b_dec": (True, "the encoder sees x - b_dec"),
    "encoder_init": ("tied", "the encoder starts as the decoder's transpose"),
    "fit_encoder_scale": (True, "at the scale that fits best"),
    "auxk_coefficient": (1 / 32, "dead features learn what the living leave over (AuxK)"),
    "decoder_init": ("rows", "features start between what a row reads and what it writes"),
}
_OF_TRANSCODERS = ("input_scaling", "decoder_init", "auxk_coefficient")
_PREFIX = "cure-of-"


def changes(training: dict[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """Settings that the cure changes: what they were, and what they become. Empty where it changes none.

    Args:
        training: a run's settings of training; None where it was not trained here.

    Raises:
        UserError: where there is no such cure: an SAE from elsewhere, or an architecture without these settings.
    """
    if not training:
        raise UserError("this SAE was not trained here: there are no settings to train it with again")
    if "auxk_coefficient" not in training:
        raise UserError(
            f"centring, a tied start and AuxK are settings of TopK SAEs: {training['architecture']!r} has none of them"
        )
    transcoder = training["architecture"] == "transcoder"
    names = _OF_TRANSCODERS if transcoder else [name for name in CURE if name != "decoder_init"]
    # Another weight of AuxK than ours is still AuxK.
    return {
        name: (training[name], CURE[name][0])
        for name in names
        if training[name] != CURE[name][0] and not (name == "auxk_coefficient" and training[name])
    }


def cure_spec(run: RunFolder) -> dict[str, Any]:
    """The specification of an experiment with one run: this one's settings, seed, size and K, with the cure.

    Raises:
        UserError: as `changes`, or if there is nothing to change.
    """
    training = run.config.get("training") or {}
    changed = changes(training)
    if not changed:
        raise UserError(f"run {run.id} has the whole cure already: centred rows, a tied start and AuxK")
    settings = {**training, **{name: becomes for name, (_, becomes) in changed.items()}}
    factors = {"preset": ["corrected"], **{name: [settings.pop(name)] for name in ("d_sae", "k", "seed")}}
    data = run.config["data"]
    place = {"layer": data["layer"], "position": data["position"]}
    return {
        "kind": "topk-grid",
        "name": name_of(run),
        "activations": data["activations"],
        **place,
        "factors": factors,
        "settings": settings,
    }


def name_of(run: RunFolder) -> str:
    """The experiment of a run's cure."""
    return f"{_PREFIX}{run.id}"[:80]


def cured(workspace: Workspace, run: RunFolder) -> tuple[ExperimentFolder, RunFolder | None] | None:
    """The experiment of a run's cure, and its run once that is under way; None where it was not started."""
    try:
        experiment = workspace.experiment(name_of(run))
    except UserError:
        return None
    return experiment, next(iter(experiment.runs()), None)
