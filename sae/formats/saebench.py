"""Result files as SAEBench 0.6.0 writes them, so that its tools read and plot ours: `document` makes one.

Definitions: `sae_bench/evals/base_eval_output.py` and the `eval_output.py` of each evaluation. A number that is not
there is -1, as SAEBench writes what is not a number; metrics that it lets be absent are left out.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sae.common.errors import UserError

#: The evaluations that have a place there, and what SAEBench calls them.
TYPES = {
    "core": "core",
    "sparse-probing": "sparse_probing",
    "scr": "scr",
    "tpp": "tpp",
    "absorption": "absorption_first_letter",
    "first-letter": "absorption_first_letter",
}
#: Categories whose metrics must all be there.
_CORE: dict[str, tuple[str, ...]] = {
    "model_behavior_preservation": ("kl_div_score", "kl_div_with_ablation", "kl_div_with_sae"),
    "model_performance_preservation": (
        "ce_loss_score",
        "ce_loss_with_ablation",
        "ce_loss_with_sae",
        "ce_loss_without_sae",
    ),
    "reconstruction_quality": ("explained_variance", "explained_variance_legacy", "mse", "cossim"),
    "shrinkage": ("l2_norm_in", "l2_norm_out", "l2_ratio", "relative_reconstruction_bias"),
    "sparsity": ("l0", "l1"),
    "token_stats": ("total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance"),
    "misc_metrics": (
        "freq_over_1_percent",
        "freq_over_10_percent",
        "normalized_freq_over_1_percent",
        "normalized_freq_over_10_percent",
        "average_max_encoder_cosine_sim",
        "average_max_decoder_cosine_sim",
        "frac_alive",
    ),
}
_ABSORPTION = tuple(
    f"{kind}_{name}"
    for kind, names in (
        ("mean", ("absorption_fraction_score", "full_absorption_score", "num_split_features")),
        ("std_dev", ("absorption_fraction_score", "full_absorption_score", "num_split_features")),
    )
    for name in names
)
_WHOLE = ("total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance")
#: How many features or latents SAEBench's fields go by.
_PROBED = (1, 2, 5, 10, 20, 50, 100)
_ABLATED = (2, 5, 10, 20, 50, 100, 500)


def document(
    evaluation: str,
    metrics: Mapping[str, float | None],
    details: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    *,
    release: str,
    cfg: Mapping[str, Any],
    unstructured: Any = None,
) -> dict[str, Any]:
    """A result file's content.

    Args:
        evaluation: one of `TYPES`.
        metrics: by SAEBench's names; what it has no field for is left out.
        details: a line a feature, data set or letter, by SAEBench's names.
        config: of the evaluation, by SAEBench's names.
        release: what the SAE is called; SAEBench's `sae_lens_release_id`.
        cfg: the SAE's configuration.
        unstructured: anything else, for `eval_result_unstructured`.

    Raises:
        UserError: for an evaluation that SAEBench does not have.
    """
    if evaluation not in TYPES:
        raise UserError(f"SAEBench has no evaluation {evaluation!r}: it has {', '.join(TYPES)}")
    return {
        "eval_type_id": TYPES[evaluation],
        "eval_config": dict(config),
        "eval_id": str(uuid.uuid4()),
        "datetime_epoch_millis": int(time.time() * 1000),
        "eval_result_metrics": _categories(evaluation, metrics),
        "eval_result_details": [_cleaned(line) for line in details],
        "sae_bench_commit_hash": "Unknown",
        "sae_lens_id": "custom_sae",
        "sae_lens_release_id": release,
        "sae_lens_version": "Unknown",
        "sae_cfg_dict": _cleaned(cfg),
        "eval_result_unstructured": unstructured if unstructured is not None else {},
    }


def file_name(release: str) -> str:
    """What SAEBench calls the file of a custom SAE."""
    return f"{release}_custom_sae_eval_results.json".replace("/", "_")


def sae_cfg(config: Mapping[str, Any], model_name: str) -> dict[str, Any]:
    """SAEBench's `sae_cfg_dict` of a run, from its `config.json`."""
    model, data = config["model"], config["data"]
    layer = data.get("layer")
    return {
        "model_name": model_name,
        "d_in": model["d_in"],
        "d_sae": model["d_sae"],
        "hook_layer": layer,
        "hook_name": None if layer is None else f"blocks.{layer}.hook_resid_post",
        "architecture": model["architecture"],
        "dtype": "float32",
        "normalize_activations": "none",
        "dataset_path": data["activations"],
        **{name: value for name, value in model.items() if name not in ("d_in", "d_sae", "architecture")},
    }


def _categories(evaluation: str, metrics: Mapping[str, float | None]) -> dict[str, dict[str, Any]]:
    if evaluation == "core":
        return {category: _all_of(names, metrics) for category, names in _CORE.items()}
    if evaluation in ("absorption", "first-letter"):
        return {"mean": _all_of(_ABSORPTION, metrics)}
    if evaluation == "sparse-probing":
        llm = ["llm_test_accuracy", *(f"llm_top_{k}_test_accuracy" for k in _PROBED)]
        sae = ["sae_test_accuracy", *(f"sae_top_{k}_test_accuracy" for k in _PROBED)]
        required = _all_of(llm[:1], metrics)
        return {"llm": required | _those_of(llm[1:], metrics), "sae": _those_of(sae, metrics)}
    if evaluation == "scr":
        names = [f"scr_{kind}_threshold_{n}" for n in _ABLATED for kind in ("dir1", "metric", "dir2")]
    else:
        kinds = ("total_metric", "intended_diff_only", "unintended_diff_only")
        names = [f"tpp_threshold_{n}_{kind}" for n in _ABLATED for kind in kinds]
    return {f"{evaluation}_metrics": _those_of(names, metrics)}


def _all_of(names: Sequence[str], metrics: Mapping[str, float | None]) -> dict[str, Any]:
    found = {name: _number(metrics.get(name)) for name in names}
    return {name: int(value) if name in _WHOLE else value for name, value in found.items()}


def _those_of(names: Sequence[str], metrics: Mapping[str, float | None]) -> dict[str, Any]:
    return {name: _number(metrics[name]) for name in names if metrics.get(name) is not None}


def _number(value: float | None) -> float:
    return -1 if value is None or math.isnan(value) else float(value)


def _cleaned(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: -1 if isinstance(value, float) and math.isnan(value) else value for key, value in line.items()}
