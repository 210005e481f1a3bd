"""The README.md beside an exported SAE: what it is, what it was trained on, how good it is, and how to open it.

Names and words that came from users or from files stand as text: Markdown in them does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sae import __version__

if TYPE_CHECKING:
    from sae.formats.forms import Form
    from sae.workspace.runs import RunFolder

#: Metrics of the table, the most asked for first; a run has those that its kind measures.
_METRICS = ("ev_total", "ev_flat", "mse", "reconstruction_loss", "cosine_similarity", "l2_ratio", "l0", "dead", "dense")
_LOAD = {
    "saelens": 'from sae_lens import SAE\n\nsae = SAE.load_from_disk("FOLDER")\nreconstruction = sae(activations)',
    "sparsify": 'from sparsify import SparseCoder\n\nsae = SparseCoder.load_from_disk("FOLDER")\n'
    "reconstruction = sae(activations).sae_out",
    "dictionary_learning": "from dictionary_learning.utils import load_dictionary\n\n"
    'sae, config = load_dictionary("FOLDER", device="cpu")\nreconstruction = sae(activations)',
}
_LIBRARY = {"saelens": "saelens", "sparsify": "sparsify", "dictionary_learning": "dictionary_learning"}


def model_card(run: RunFolder, form: Form, manifest: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """The card as Markdown.

    Args:
        manifest: of the activations that it was trained on; empty where they are not here.
        files: SHA-256 of each exported file by name.
    """
    config = run.config
    parts = [
        f"---\nlibrary_name: {_LIBRARY[form.format]}\ntags:\n- sparse-autoencoder\n- interpretability\n---",
        f"# {_text(run.title)}",
        _what_it_is(config, form),
        f"## Open it\n\n```python\n{_LOAD[form.format]}\n```\n\nIt takes raw activations: nothing is to be scaled or "
        "centred first.",
        f"## {'Measured on' if config.get('training') is None else 'Trained on'}\n\n{_data(config, manifest)}",
        f"## Training\n\n{_training(config)}",
        f"## Metrics\n\n{_metrics(run.metrics)}",
        _changes(form, config.get("source") or {}),
        "## Files\n\n" + _table(["file", "SHA-256"], [[f"`{name}`", f"`{digest}`"] for name, digest in files.items()]),
        f"## Versions\n\n{_versions(config)}",
        "## Licence\n\nNone is given yet: whoever publishes these weights says under which licence, in the head of "
        "this file (`license: ...`) and here. Mind the licences of the language model and of the texts.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what_it_is(config: Mapping[str, Any], form: Form) -> str:
    model = config["model"]
    options = ", ".join(f"{_text(name)} {_value(value)}" for name, value in model.items() if name not in _SIZES)
    return (
        f"A sparse autoencoder of architecture {_text(model['architecture'])} ({_text(form.name)} in this format): "
        f"{model['d_in']:,} dimensions, {model['d_sae']:,} features{f', {options}' if options else ''}. "
        f"Made with SAE Workbench as run `{_code(config['id'])}`."
    )


_SIZES = ("architecture", "d_in", "d_sae")


def _data(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    data = config["data"]
    model = manifest.get("model") or {}
    lines: list[tuple[str, Any]] = [
        ("activations", data["activations"]),
        ("SHA-256 of activations.npy", data["sha256"]),
        ("language model", model.get("title") or model.get("name")),
        ("SHA-256 of the model", model.get("sha256")),
        ("site", manifest.get("site")),
        ("layer", data.get("layer")),
        ("layers", ", ".join(map(str, data["layers"])) if data.get("layers") else None),
        ("position", data.get("position")),
        ("texts", _problems(manifest.get("problems"))),
        ("rows", ", ".join(f"{split} {n:,}" for split, n in data["rows"].items())),
    ]
    return _listed(lines)


def _problems(problems: Any) -> str | None:
    if not isinstance(problems, Mapping):
        return None
    return ", ".join(f"{key} {value}" for key, value in problems.items() if isinstance(value, str | int))


def _training(config: Mapping[str, Any]) -> str:
    if config.get("training") is None:
        return "It was not trained here: it was imported, and measured on the activations above."
    factors = [(f"factor {name}", value) for name, value in config["factors"].items()]
    settings = [(name, value) for name, value in config["training"].items() if value is not None]
    return _listed([("experiment", config.get("experiment")), ("kind", config.get("kind")), *factors, *settings])


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> str:
    found = [name for name in _METRICS if any(name in values for values in metrics.values())]
    lines = [
        [f"`{name}`", *(f"{values[name]:.4f}" if values.get(name) is not None else "" for values in metrics.values())]
        for name in found
    ]
    said = (
        "Each column is a split of the rows above. `ev_total` is 1 - Σ‖x-x̂‖² / Σ‖x-μ‖², μ the mean of the train rows; "
        "`l0` the mean number of active features in a row; `dead` the share of features that are active on no row of "
        "the split."
    )
    return f"{_table(['metric', *metrics], lines)}\n\n{said}"


def _changes(form: Form, source: Mapping[str, Any]) -> str:
    lines = [f"- {_text(change)}" for change in form.changes]
    lines += [f"- when it was imported: {_text(change)}" for change in source.get("changes", ())]
    if source:
        lines.append(f"- it came from a file of format {_text(source.get('format'))}: `{_code(source.get('path'))}`")
    return "## What changed on the way\n\n" + "\n".join(lines) if lines else ""


def _versions(config: Mapping[str, Any]) -> str:
    trained = {name: value for name, value in (config.get("environment") or {}).items() if isinstance(value, str | int)}
    return _listed([("exported by SAE Workbench", __version__), *trained.items()])


def _listed(lines: Sequence[tuple[str, Any]]) -> str:
    return "\n".join(f"- {_text(name)}: {_value(value)}" for name, value in lines if value not in (None, ""))


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    """One line in which Markdown and HTML do nothing."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(str(value).split()))[:500]
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", line)


def _code(value: Any) -> str:
    """What may stand between backticks."""
    return "".join(c for c in str(value) if c.isprintable() and c not in "`|")[:200]
