"""What a capture's specification says: checked before it is queued, read when it is carried out or measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import check_name
from sae.common.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

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
# So that a test split of generated problems is not the training problems over again.
_TEST_SEED = 1


def checked(spec: dict[str, Any]) -> dict[str, Any]:
    """`spec` with its lists read and what was left out, as it is queued: name, model, problems, `DEFAULTS`.

    `layers` may be `all`, and are None for pooled vectors alone; `steps` None for all; `dtype` is float16 for thoughts
    and else float32 if it is not said.

    Raises:
        UserError: for a bad name, list or choice, as far as that can be told without the model.
    """
    from sae.capture.layers import read_layers, read_steps
    from sae.capture.plan import DTYPES, TEXTS, check_choice
    from sae.capture.thoughts import FINAL_NORM
    from sae.language_models import minilm
    from sae.language_models.codi.loading import is_codi
    from sae.problems import names_terms

    found = {**DEFAULTS, **spec}
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
    if names_terms(found["problems"]) and found["test_problems"]:
        raise UserError("terms of an ontology are split by concept: test problems can't be put beside them")
    if not thoughts and (found["steps"] is not None or found["final_norm"] != "before"):
        raise UserError("steps and the final norm are chosen for the positions thoughts alone")
    if thoughts and found["text"] != "question":
        raise UserError(f"thoughts follow the question: text {found['text']!r} can't be taken")
    return found


@dataclass(frozen=True)
class Read:
    """The problems of a capture, and where they came from.

    Attributes:
        examples: with a column `split` where there are test problems.
        source: of the problems, with those lines that could not be read.
    """

    examples: pd.DataFrame
    source: dict[str, Any]


def read_problems(spec: dict[str, Any]) -> Read:
    """The problems of a checked specification; generated test problems are drawn with the next seed.

    Raises:
        UserError: if they can't be read.
    """
    from sae import problems
    from sae.capture.splits import with_test

    if problems.names_terms(spec["problems"]):
        terms = problems.load_terms(spec["problems"], limit=spec["limit"])
        return Read(terms.table(), _source(terms))
    found = problems.load(spec["problems"], limit=spec["limit"], seed=spec["seed"])
    source = _source(found)
    if not spec["test_problems"]:
        return Read(found.table(), source)
    test = problems.load(spec["test_problems"], seed=spec["seed"] + _TEST_SEED)
    return Read(with_test(found.table(), test.table()), {**source, "test": _source(test)})


def _source(found: Any) -> dict[str, Any]:
    unread = {"unread": [str(line) for line in found.skipped]} if found.skipped else {}
    return {**found.source, "n": len(found), **unread}


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
    shared: dict[str, Any] = {
        "name": spec["name"],
        "dtype": spec["dtype"],
        "problems_source": read.source,
        "progress": progress,
        "shards": shards,
    }
    if spec["positions"] == "pooled":
        return capture_pooled(model, read.examples, folder, text=spec["text"], **shared)
    shared["layers"] = chosen_layers(spec["layers"], model.n_layers)
    if spec["positions"] == "thoughts":
        return capture_thoughts(
            model, read.examples, folder, steps=spec["steps"], final_norm=spec["final_norm"], **shared
        )
    return capture_language_model(
        model,
        read.examples,
        folder,
        positions=spec["positions"],
        text=spec["text"],
        answers=spec["answers"],
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
    examples = read_problems(spec).examples
    model: Any = load_model(spec, device, progress)
    shared: dict[str, Any] = {"dtype": spec["dtype"], "progress": progress}
    if spec["positions"] == "pooled":
        fill_pooled_shard(model, examples, folder, part, text=spec["text"], **shared)
        return
    shared["layers"] = chosen_layers(spec["layers"], model.n_layers)
    if spec["positions"] == "thoughts":
        fill_thoughts_shard(model, examples, folder, part, steps=spec["steps"], final_norm=spec["final_norm"], **shared)
        return
    choices = {name: spec[name] for name in ("positions", "text", "answers")}
    fill_shard(model, examples, folder, part, **choices, **shared)


def estimate(spec: dict[str, Any], device: str) -> dict[str, Any]:
    """See `sae.workspace.start.estimate_capture`."""
    from sae.capture import estimate as measure
    from sae.capture import estimate_pooled, estimate_thoughts
    from sae.capture.layers import chosen_layers

    spec = checked(spec)
    read = read_problems(spec)
    model: Any = load_model(spec, device)
    shape: dict[str, Any] = {"examples": len(read.examples), "d_in": model.d_model, "dtype": spec["dtype"]}
    if spec["positions"] == "pooled":
        pooled = estimate_pooled(model, read.examples, text=spec["text"], dtype=spec["dtype"])
        return {**shape, "n_layers": None, "layers": None, "steps": None, **asdict(pooled)}
    layers = chosen_layers(spec["layers"], model.n_layers)
    shared: dict[str, Any] = {"layers": layers, "dtype": spec["dtype"]}
    cost: Estimate
    steps = None
    if spec["positions"] == "thoughts":
        steps = spec["steps"] or list(range(model.n_thoughts + 1))
        cost = estimate_thoughts(model, read.examples, steps=steps, **shared)
    else:
        cost = measure(model, read.examples, positions=spec["positions"], text=spec["text"], **shared)
    return {**shape, "n_layers": model.n_layers, "layers": layers, "steps": steps, **asdict(cost)}
