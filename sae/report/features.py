"""Feature cards of a report: what each fires on, how often, what was written about it; at most 50 kB each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError
from sae.figures.style import new_figure, number_text
from sae.figures.tokens import INK, RAMPS, Example
from sae.report.examples import Source, one_example
from sae.report.visible import visible
from sae.workspace.notes import FeatureNote, Notes

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder

EXAMPLES = 10
#: Bytes of a card with its examples, as UTF-8 JSON; the file's limit is 50 kB a feature, escapes and all.
LARGEST = 30_000
_LONGEST = 700  # characters of a text
_LONGEST_LINE = 400  # and of what stands under it
STANDARD = 200


def choose(run: RunFolder, asked: str = "") -> list[int]:
    """The features of a report, in its order.

    Args:
        asked: "" for those with a label, a note or a bookmark and then the most active, 200 in all; `all`; `N` first
            of the most active as `first:N`; `list:NAME`; or their numbers, `3,17,44`.

    Raises:
        UserError: for a feature, a list or a word that there is not.
    """
    table = run.features()
    most_active = (
        table[~table["dead"]].sort_values(["n_active", "feature"], ascending=[False, True])["feature"].tolist()
    )
    notes = Notes(run.folder, len(table))
    if asked == "all":
        return most_active + table[table["dead"]]["feature"].tolist()
    if asked.startswith("list:"):
        name, lists = asked.removeprefix("list:"), notes.lists()
        if name not in lists:
            here = ", ".join(lists) or "none"
            raise UserError(f"run {run.id} has no list {name!r}; its lists: {here}")
        return lists[name]
    if asked.startswith("first:"):
        return most_active[: _number(asked.removeprefix("first:"), asked)]
    if asked:
        found = list(dict.fromkeys(_number(part, asked) for part in asked.split(",")))
        if missing := [feature for feature in found if feature >= len(table)]:
            raise UserError(f"there is no feature {missing[0]}: this SAE has features 0 to {len(table) - 1:,}")
        return found
    written = [feature for feature in sorted(notes.all()) if feature < len(table)]
    return (written + [feature for feature in most_active if feature not in set(written)])[:STANDARD]


def cards(workspace: Workspace, run: RunFolder, features: Sequence[int]) -> dict[str, Any]:
    """What report.js draws; texts that several features share stand once.

    Raises:
        UserError: if the run's tables can't be read. Activations that are gone leave the cards without examples.
    """
    from sae.analysis.distributions import activation_histogram
    from sae.analysis.top_rows import top_rows

    table, codes = run.features(), run.codes()
    notes = Notes(run.folder, len(table))
    written, lists = notes.all(), notes.lists()
    source, why = _source(workspace, run)
    rows = top_rows(codes, EXAMPLES, None if source is None else source.piece.rows["example"].to_numpy())
    shelf = _Shelf()
    made = []
    for feature in features:
        line, note = table.iloc[feature], written.get(feature, FeatureNote())
        histogram = None if line["dead"] else activation_histogram(codes, feature).table
        card: dict[str, Any] = {
            "feature": int(feature),
            "label": visible(note.label),
            "note": visible(note.note),
            "bookmark": note.bookmark,
            "lists": [visible(name) for name, members in lists.items() if feature in members],
            "density": _short(line["density"]),
            "max_activation": _short(line["max_activation"]),
            "signed": bool(histogram is not None and histogram["low"].iloc[0] < 0),
            "said": _said(line, codes.n_rows),
            "starts": [] if histogram is None else [_short(value) for value in histogram["low"]],
            "ends": [] if histogram is None else [_short(value) for value in histogram["high"]],
            "counts": [] if histogram is None else histogram["rows"].tolist(),
        }
        room = LARGEST - _bytes(card)
        card["examples"] = [] if source is None else _examples(source, feature, rows[feature], shelf, room)
        made.append(card)
    layout = json.loads(new_figure("", x_title="Activation", y_title="Rows", height=190).to_json() or "{}")["layout"]
    layout["yaxis"] |= {"type": "log", "dtick": 1}
    layout["margin"] = {"l": 60, "r": 10, "t": 10, "b": 44}
    return {
        "cards": made,
        "examples": shelf.examples,
        "said": why,
        "ramps": RAMPS,
        "ink": INK,
        "histogram": layout,
        "theme": "light",
    }


class _Shelf:
    """Examples, each kept once."""

    def __init__(self) -> None:
        self.examples: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}

    def put(self, example: dict[str, Any]) -> int:
        key = json.dumps(example, ensure_ascii=False)
        if key not in self._places:
            self._places[key] = len(self.examples)
            self.examples.append(example)
        return self._places[key]


def _examples(source: Source, feature: int, rows: np.ndarray, shelf: _Shelf, room: int) -> list[list[Any]]:
    """[place on the shelf, value, [[start, end, strength], ...]] of the strongest examples that there is room for."""
    owner = source.piece.rows["example"].to_numpy()
    values = dict(zip(*(part.tolist() for part in source.codes.feature(feature)), strict=True))
    found = []
    for row in rows[rows >= 0].tolist():
        shown = one_example(source, feature, row, int(owner[row]), float(values[row]))
        example, marks = _compact(shown)
        room -= _bytes(example) + _bytes(marks) + 30
        if room < 0:
            break
        found.append([shelf.put(example), _short(values[row]), marks])
    return found


def _compact(shown: Example) -> tuple[dict[str, Any], list[list[Any]]]:
    """An example as it stands on the shelf, and where in its text (characters) the feature is how active."""
    text, marks = "", []
    for piece, strength in shown.segments:
        piece = visible(piece)[: _LONGEST - len(text)]
        if strength and piece:
            marks.append([len(text), len(text) + len(piece), _short(strength)])
        text += piece
    return {
        "heading": shown.heading,
        "aside": shown.aside,
        "text": text,
        "chips": [
            {
                "name": chip.name,
                "word": visible(chip.word)[:80],
                "share": "" if chip.share is None else f"{100 * chip.share:.0f} %",
                "title": visible(chip.others)[:200],
                "here": chip.here,
            }
            for chip in shown.chips
        ],
        "lines": [
            [visible(term)[:80], visible(words)[:_LONGEST_LINE]] for term, words in shown.lines or shown.details[:1]
        ],
    }, marks


def _source(workspace: Workspace, run: RunFolder) -> tuple[Source | None, str]:
    """Where the examples come from; None and why, where the activations are not here."""
    data = run.config["data"]
    try:
        activations = workspace.open_activations(data["activations"])
        if activations.manifest["sha256"] != data["sha256"]:
            return None, "its activations here are others than it was trained on, so there are no examples"
        piece = rows_read(activations, data)
        owner = piece.rows["example"].to_numpy()
    except UserError as error:
        return None, f"no examples: {visible(error)}"
    order = np.argsort(owner, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner))])
    return Source(
        run.codes(), piece, piece.rows["split"].to_numpy(), lambda i: order[starts[i] : starts[i + 1]], longest=_LONGEST
    ), ""


def _said(line: Any, n_rows: int) -> str:
    if line["dead"]:
        return f"Never active on the {n_rows:,} rows."
    share = number_text(line["density"], "share")
    return (
        f"Active on {int(line['n_active']):,} of {n_rows:,} rows ({share}), in {int(line['n_examples']):,} examples; "
        f"largest {line['max_activation']:.3g}, mean {line['mean_activation']:.3g}."
    )


def _number(text: str, asked: str) -> int:
    if not text.strip().isdecimal():
        raise UserError(f"features {asked!r} can't be chosen: give numbers (3,17,44), all, first:N or list:NAME")
    return int(text)


def _bytes(value: Any) -> int:
    """As the file holds it: escapes of <, > and & take six bytes."""
    text = json.dumps(value, ensure_ascii=False)
    return len(text.encode()) + 5 * sum(text.count(character) for character in "<>&")


def _short(value: Any) -> float | None:
    """Four digits; None for a number that there is not."""
    return float(f"{float(value):.4g}") if np.isfinite(value) else None
