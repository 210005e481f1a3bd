"""What a capture's specification says: checked before it is queued, read when it is carried out or measured."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import check_name
from sae.common.progress import Progress
from sae.workspace.capture_examples import check_texts, examples_of, read_problems

if TYPE_CHECKING:
    from pathlib import Path

    from sae.capture import Activations, Estimate
    from sae.capture.shards import Shards
    from sae.language_models import LanguageModel
    from sae.language_models.codi.model import Codi
    from sae.language_models.encoders import Encoder

POSITIONS = ("last", "all", "thoughts", "pooled")
#: What may be left out of a specification.
DEFAULTS: dict[str, Any] = {
    "limit": None,
    "seed": 0,
    "test_problems": None,
    "layers": None,
    "positions": "last",
    "steps": None,
    "final_norm": "before",
    "text": "question",
    "dtype": None,
    "answers": False,
}
#: These came later: they stand in a specification where they say something, so that older ones stay as they are.
LATER = ("context", "tokens")


def checked(spec: dict[str, Any]) -> dict[str, Any]:
    """`spec` with its lists read and what was left out, as it is queued: name, model, problems, `DEFAULTS`.

    `layers` may be `all`, and are None for pooled vectors alone; `steps` None for all; `dtype` is float16 for thoughts
    and else float32 if it is not said. `context` (most tokens of a piece; of texts `TEXT_CONTEXT` if it is not
    said) and `tokens` (how many of those that make rows) are there where texts are cut or stopped.

    Raises:
        UserError: for a bad name, list or choice, as far as that can be told without the model.
    """
    from sae.capture.context import TEXT_CONTEXT
    from sae.capture.layers import read_layers, read_steps
    from sae.capture.plan import DTYPES, TEXTS, check_choice
    from sae.capture.thoughts import FINAL_NORM
    from sae.language_models import minilm
    from sae.language_models.codi.loading import is_codi
    from sae.problems import names_texts

    found = {**DEFAULTS, **{name: value for name, value in spec.items() if name not in LATER or value is not None}}
    check_name(found["name"], "activations name")
    check_choice("positions", found["positions"], POSITIONS)
    check_choice("final norm", found["final_norm"], FINAL_NORM)
    check_choice("text", found["text"], TEXTS)
    thoughts, pooled = found["positions"] == "thoughts", found["positions"] == "pooled"
    found["dtype"] = found["dtype"] or ("float16" if thoughts else "float32")
    check_choice("dtype", found["dtype"], DTYPES)
    if pooled and found["layers"] is not None:
        raise UserError("pooled vectors are of the last layer: no layers are chosen for the positions pooled")
    if not pooled and found["layers"] is None:
        raise UserError(f"layers are needed for the positions {found['positions']}: such as 9 or 0,9,14 or all")
    found["layers"] = None if pooled else read_layers(found["layers"])
    found["steps"] = read_steps(found["steps"])
    if not thoughts and is_codi(found["model"]):
        raise UserError(f"{found['model']!r} is a CODI model: it is captured at the positions thoughts")
    if not pooled and found["model"] == minilm.NAME:
        raise UserError(f"{minilm.NAME!r} is a text encoder: it is captured at the positions pooled")
    if pooled and found["answers"]:
        raise UserError("an encoder gives no answers: they can't be asked for at the positions pooled")
    check_texts(found)
    if found["positions"] in ("last", "all") and names_texts(found["problems"]):
        found.setdefault("context", TEXT_CONTEXT)
    if not thoughts and (found["steps"] is not None or found["final_norm"] != "before"):
        raise UserError("steps and the final norm are chosen for the positions thoughts alone")
    if thoughts and found["text"] != "question":
        raise UserError(f"thoughts follow the question: text {found['text']!r} can't be taken")
    return found


def load_model(spec: dict[str, Any], device: str, progress: Progress | None = None) -> LanguageModel | Codi | Encoder:
    """The model of a checked specification: a `Codi` for thoughts, an `Encoder` for pooled vectors.

    Raises:
        UserError: if it can't be loaded.
    """
    if spec["positions"] == "thoughts":
        from sae.language_models.codi import loading

        return loading.load(spec["model"], device=device, progress=progress)
    if spec["positions"] == "pooled":
        from sae.language_models.encoders import load_encoder

        return load_encoder(spec["model"], device=device, progress=progress)
    from sae.language_models import load

    return load(spec["model"], device=device, progress=progress)


def capture(
    spec: dict[str, Any], folder: Path, device: str, progress: Progress, shards: Shards | None = None
) -> Activations:
    """Carry out a specification, or put together what shards of it found.

    Raises:
        UserError: for whatever is wrong with it.
    """
    from sae.capture import capture_language_model, capture_pooled, capture_thoughts
    from sae.capture.layers import chosen_layers

    spec = checked(spec)
    progress.update(0, 1, "reading problems")
    read = read_problems(spec)
    progress.update(0, 1, "loading the language model")
    model: Any = load_model(spec, device, progress)
    examples = examples_of(read, spec, model, lambda: progress.update(0, 1, "reading texts"))
    shared: dict[str, Any] = {
        "name": spec["name"],
        "dtype": spec["dtype"],
        "problems_source": examples.source,
        "progress": progress,
        "shards": shards,
    }
    if spec["positions"] == "pooled":
        return capture_pooled(model, examples.table, folder, text=spec["text"], **shared)
    shared["layers"] = chosen_layers(spec["layers"], model.n_layers)
    if spec["positions"] == "thoughts":
        return capture_thoughts(
            model, examples.table, folder, steps=spec["steps"], final_norm=spec["final_norm"], **shared
        )
    return capture_language_model(
        model,
        examples.table,
        folder,
        positions=spec["positions"],
        text=examples.text,
        answers=spec["answers"],
        cut=examples.cut,
        **shared,
    )


def capture_shard(spec: dict[str, Any], folder: Path, part: tuple[int, int], device: str, progress: Progress) -> None:
    """Read one part of a specification's batches into `folder`.

    Args:
        part: number (from 0) and count of the shards.

    Raises:
        UserError: for whatever is wrong with the specification.
    """
    from sae.capture.layers import chosen_layers
    from sae.capture.shards import fill_pooled_shard, fill_shard, fill_thoughts_shard

    spec = checked(spec)
    progress.update(0, 1, "loading the language model")
    read = read_problems(spec)
    model: Any = load_model(spec, device, progress)
    examples = examples_of(read, spec, model, lambda: progress.update(0, 1, "reading texts"))
    shared: dict[str, Any] = {"dtype": spec["dtype"], "progress": progress}
    if spec["positions"] == "pooled":
        fill_pooled_shard(model, examples.table, folder, part, text=spec["text"], **shared)
        return
    shared["layers"] = chosen_layers(spec["layers"], model.n_layers)
    if spec["positions"] == "thoughts":
        thought = {name: spec[name] for name in ("steps", "final_norm")}
        fill_thoughts_shard(model, examples.table, folder, part, **thought, **shared)
        return
    choices = {name: spec[name] for name in ("positions", "answers")}
    fill_shard(model, examples.table, folder, part, text=examples.text, cut=examples.cut, **choices, **shared)


def estimate(spec: dict[str, Any], device: str) -> dict[str, Any]:
    """See `sae.workspace.start.estimate_capture`."""
    from sae.capture import estimate as measure
    from sae.capture import estimate_pooled, estimate_thoughts
    from sae.capture.layers import chosen_layers

    spec = checked(spec)
    read = read_problems(spec)
    model: Any = load_model(spec, device)
    examples = examples_of(read, spec, model)
    table = examples.table
    shape: dict[str, Any] = {"examples": len(table), "d_in": model.d_model, "dtype": spec["dtype"]}
    shape["cut"] = asdict(examples.cut) if examples.cut else None
    if spec["positions"] == "pooled":
        pooled = estimate_pooled(model, table, text=spec["text"], dtype=spec["dtype"])
        return {**shape, "n_layers": None, "layers": None, "steps": None, **asdict(pooled)}
    layers = chosen_layers(spec["layers"], model.n_layers)
    shared: dict[str, Any] = {"layers": layers, "dtype": spec["dtype"]}
    cost: Estimate
    steps = None
    if spec["positions"] == "thoughts":
        steps = spec["steps"] or list(range(model.n_thoughts + 1))
        cost = estimate_thoughts(model, table, steps=steps, **shared)
    else:
        cost = measure(model, table, positions=spec["positions"], text=examples.text, **shared)
    return {**shape, "n_layers": model.n_layers, "layers": layers, "steps": steps, **asdict(cost)}
