"""Evaluations of a run as SAEBench's result files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.formats import saebench

if TYPE_CHECKING:
    from pathlib import Path

    from sae.workspace.evaluations import Evaluation

#: SAEBench's columns of a feature.
_FEATURES = (
    "feature_density",
    "consistent_activation_heuristic",
    "encoder_bias",
    "encoder_norm",
    "encoder_decoder_cosine_sim",
    "max_decoder_cosine_sim",
    "max_encoder_cosine_sim",
)


def result_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """The content of SAEBench's file for an evaluation; None where SAEBench would write none (nothing was measured).

    An evaluation gives SAEBench's metrics, by its names, in its notes: `saebench`, and where it has them
    `saebench_details` (a line a data set or letter) and `saebench_config`. What an evaluation without such notes has
    measured under SAEBench's own names is taken from its metrics.

    Raises:
        UserError: if the evaluation is not finished.
    """
    if not evaluation.done:
        raise UserError(f"evaluation {evaluation.name} of run {evaluation.run.id} is not finished")
    results, notes = evaluation.results, evaluation.notes
    if not results:
        return None
    config = evaluation.run.config
    behaviour = notes.get("behaviour") or notes.get("model") or {}
    model = str(behaviour.get("name") or "") if isinstance(behaviour, dict) else ""
    metrics = notes.get("saebench") or results[0]["metrics"]
    details = _features(evaluation) if evaluation.name == "core" else notes.get("saebench_details", [])
    settings = evaluation.content.get("settings", {})
    about = _core_config(settings, notes) if evaluation.name == "core" else notes.get("saebench_config", {})
    cfg = saebench.sae_cfg(config, model)
    ours = {"sae_workbench": {"metrics": results[0]["metrics"], "interval": results[0]["interval"],
                              "split": results[0]["split"], "n": results[0]["n"], "settings": settings}}  # fmt: skip
    return saebench.document(
        evaluation.name,
        metrics,
        details,
        {"model_name": model, **about},
        release=evaluation.run.id,
        cfg=cfg,
        unstructured=ours,
    )


def write_result(evaluation: Evaluation, folder: Path) -> Path | None:
    """Write the file into `folder`/NAME, under the name that SAEBench gives it; None if there is none to write."""
    from sae.common.files import write_json

    content = result_of(evaluation)
    if content is None:
        return None
    path = folder / evaluation.name / saebench.file_name(evaluation.run.id)
    write_json(path, content)
    return path


def _features(evaluation: Evaluation) -> list[dict[str, Any]]:
    table = evaluation.table("features").rename(columns={"feature": "index"})
    return table[["index", *_FEATURES]].round(10).to_dict("records")


def _core_config(settings: dict[str, Any], notes: dict[str, Any]) -> dict[str, Any]:
    batch = int(settings.get("batch") or 1)
    batches = -(-int(notes.get("texts") or 0) // batch)
    in_the_loop = notes.get("behaviour") is not None
    return {
        "llm_dtype": str((notes.get("behaviour") or {}).get("dtype") or "float32"),
        "batch_size_prompts": batch,
        "n_eval_reconstruction_batches": batches if in_the_loop else 0,
        "n_eval_sparsity_variance_batches": batches,
        "dataset": str(notes.get("source")),
        "context_size": int(settings.get("context") or 0),
        "compute_kl": in_the_loop,
        "compute_ce_loss": in_the_loop,
        "compute_l2_norms": True,
        "compute_sparsity_metrics": True,
        "compute_variance_metrics": True,
        "compute_featurewise_density_statistics": True,
        "compute_featurewise_weight_based_metrics": True,
        "exclude_special_tokens_from_reconstruction": True,
    }
