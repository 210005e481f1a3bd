"""A trained CODI model's card: what it is, how it was made, and what was measured of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sae.common.progress import seconds_text

from .config import KINDS
from .evaluation import BATCH, evaluate
from .probes import probe_values, values_of

if TYPE_CHECKING:
    from sae.common.progress import Progress
    from sae.problems.examples import Example

    from .config import CodiConfig
    from .model import Codi

#: Problems of each part, and of the probes.
N, N_PROBED = 1000, 4000
PARTS: dict[str, dict[str, Any]] = {
    "unseen numbers": {"numbers": "unseen"},
    "unseen phrasings": {"numbers": "unseen", "phrasings": "unseen"},
    "unseen templates": {"numbers": "all", "phrasings": "all", "templates": "unseen"},
}
#: Far from the seeds that trainings draw from.
SEED = 900_000_000

_SUPERVISED = (
    "**The layout of values over thoughts is a training target of this model**: BOT and thoughts 2 and 4 were taught "
    "the values on the way. That they can be read there is no discovery."
)
_PURE = "No thought was taught what to hold: what can be read from them is what training made of them."
_CONTROL = "The control of the models that think: it answers right after BOT, with all else as in pure CODI."


def measured(codi: Codi, *, control: Codi | None, progress: Progress) -> dict[str, Any]:
    """What a card says of a model: `parts` (`evaluate` by held-out part) and `probes` (records of `probe_values`)."""
    from sae.problems import generate

    parts = {}
    for number, (name, held_out) in enumerate(PARTS.items()):
        examples = generate(N, SEED + number, **held_out).examples
        parts[name] = evaluate(codi, examples, control=control, tick=_telling(progress, N, f"answering {name}"))
    examples = generate(N_PROBED, SEED, numbers="all").examples
    values, names = values_of(examples)
    groups = [str(example.labels["group"]) for example in examples]
    states = _states(codi, examples, progress)
    probes = probe_values(states, values, groups, names=names)
    return {"parts": parts, "probes": probes.to_dict("records")}


def card(codi: Codi, config: CodiConfig, found: Mapping[str, Any], *, command: str, seconds: float) -> str:
    """The card as Markdown.

    Args:
        found: of `measured`.
        command: that trained it.
        seconds: that the training took.
    """
    about = {"supervised": _SUPERVISED, "pure": _PURE, "no-thoughts": _CONTROL}[config.kind]
    size = sum(weight.numel() for weight in codi.parameters())
    lines = [
        f"# {codi.source.get('name')}",
        "",
        f"A small CODI model (arXiv 2502.21074), trained from scratch on generated problems: {KINDS[config.kind]}.",
        about,
        "",
        f"- {size:,} parameters: {config.n_layers} layers of {config.d_model} dimensions, {config.n_heads} heads, MLP "
        f"{config.d_mlp}, projection {config.d_projection}; {codi.n_thoughts} thoughts.",
        f"- {len(codi.tokenizer):,} words, each number from 0 to 99 one token: it reads the generator's problems and "
        "little else.",
        f"- Trained on {config.teacher_samples:,} problems as a teacher alone, then {config.samples:,} as teacher and "
        f"student, seed {config.seed}, in {seconds_text(seconds)}. One seed was trained.",
        "",
        f"    {command}",
        "",
        "The learning curves stand in training.json.",
        "",
        "## How often it is right",
        "",
        *_parts_table(codi, found["parts"]),
        "",
        "Intervals are Wilson's, 95 %. The control has the same size and samples, and no thoughts. With fewer "
        "thoughts, or one zeroed, the model is off the path that it was trained on: that tells what it uses, not what "
        "a model needs.",
        "",
        "## By number of reasoning steps",
        "",
        *_steps_table(found["parts"]),
        "",
        "## What a linear probe reads",
        "",
        *_probe_table(found["probes"]),
        "",
        "Linear discriminant analysis on problems whose numbers the probe has not seen together; best of all layers. "
        "Shuffled: the same probe fitted to shuffled values. The answer is not taught to any thought.",
        "",
        "## Limits",
        "",
        "Numbers from 1 to 99, two to four steps, the generator's words. How larger models think is another question.",
        "",
    ]
    return "\n".join(lines)


def _telling(progress: Progress, total: int, stage: str) -> Callable[[int], None]:
    return lambda done: progress.update(done, total, stage)


def _parts_table(codi: Codi, parts: Mapping[str, Any]) -> list[str]:
    rows: dict[str, list[str]] = {"As trained": []}
    for found in parts.values():
        own = str(codi.n_thoughts)
        rows["As trained"].append(_share(found["accuracy"][own], found["intervals"]["accuracy"][own]))
        for number, share in found["accuracy"].items():
            if number != own:
                rows.setdefault(f"With {number} thought{'' if number == '1' else 's'}", []).append(_share(share))
        for number, share in found["zeroed"].items():
            rows.setdefault(f"Thought {number} zeroed", []).append(_share(share))
        rows.setdefault("Teacher, in words", []).append(_share(found["teacher"], found["intervals"]["teacher"]))
        if codi.n_thoughts:
            rows.setdefault("Control without thoughts", []).append(
                _share(found["no_latent"], found["intervals"]["no_latent"])
            )
        rows.setdefault("Problems", []).append(f"{found['n']:,}")
    return _table(["", *(name.capitalize() for name in parts)], [[name, *cells] for name, cells in rows.items()])


def _steps_table(parts: Mapping[str, Any]) -> list[str]:
    steps = sorted({step for found in parts.values() for step in found["by_steps"]})
    rows = []
    for step in steps:
        cells = [found["by_steps"].get(step) for found in parts.values()]
        rows.append([step, *("–" if cell is None else f"{_share(cell['share'])} of {cell['n']:,}" for cell in cells)])
    return _table(["Steps", *(name.capitalize() for name in parts)], rows)


def _probe_table(probes: list[dict[str, Any]]) -> list[str]:
    """Accuracy by value and step, of the layer where it is the highest."""
    if not probes:
        return ["Too few problems to probe."]
    steps = sorted({line["step"] for line in probes})
    rows = []
    for value in dict.fromkeys(line["value"] for line in probes):
        here = [line for line in probes if line["value"] == value]
        cells = []
        for step in steps:
            best = max((line for line in here if line["step"] == step), key=lambda line: line["accuracy"])
            cells.append(f"{_share(best['accuracy'])} (layer {best['layer']})")
        shuffled = max(line["shuffled"] for line in here)
        rows.append([f"{value}, n = {here[0]['n']:,}", *cells, _share(shuffled), _share(here[0]["majority"])])
    names = ["BOT" if step == 0 else f"z{step}" for step in steps]
    return _table(["Value", *names, "Shuffled, at most", "Most frequent value"], rows)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _share(share: float | None, interval: Any = None) -> str:
    if share is None:
        return "not measured"
    text = f"{100 * share:.1f} %"
    return text if interval is None else f"{text} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def _states(codi: Codi, examples: tuple[Example, ...], progress: Progress) -> dict[int, Any]:
    """States of all layers and steps, float32 [steps, n, d_model] each, in the order of the examples."""
    import numpy as np
    import torch

    ids = codi.encode([example.question for example in examples])
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    steps, n = codi.n_thoughts + 1, len(ids)
    found = {layer: np.empty((steps, n, codi.d_model), np.float32) for layer in range(codi.n_layers)}
    with torch.inference_mode():
        for start in range(0, n, BATCH):
            places = order[start : start + BATCH]
            states = codi.think([ids[place] for place in places], layers=list(found)).states
            for layer, array in found.items():
                array[:, places] = states[layer].float().cpu().numpy()
            progress.update(min(start + BATCH, n), n, "thinking for the probes")
    return found
