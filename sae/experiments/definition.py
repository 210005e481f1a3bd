"""An experiment kind from a YAML file, with the same fields as the built-in ones, and back to plain data.

What was read is kept with every experiment that is trained from it, so that the file may change or go.
"""

from __future__ import annotations

import difflib
import math
import re
from pathlib import Path
from typing import Any

import yaml

from sae.common.errors import UserError
from sae.experiments.plan import LAYERS, SLICE_FACTORS, Factor, Kind, Spec, resolve
from sae.experiments.recipes import Recipe

SUFFIXES = (".yaml", ".yml")
LARGEST = 1_000_000  # bytes
FIELDS = (
    "name",
    "title",
    "question",
    "factors",
    "settings",
    "metrics",
    "baseline",
    "matched",
    "equal",
    "unjudged",
    "recipes",
    "known",
)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


class _Loader(yaml.SafeLoader):
    """Plain data alone: no objects, no names that stand for whole parts, no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "names for parts (&, *) can't be used", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                mark = node.value[place][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", mark)
        return super().construct_mapping(node, deep)


def read_definition(path: Path) -> dict[str, Any]:
    """The definition in a YAML file, as `kind_from` takes it; checked as far as `kind_from` does.

    Raises:
        UserError: if it can't be read, is no YAML of plain data, or defines no experiment; with the line where that is
            known.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path.name} is larger than {LARGEST:,} bytes: that is no definition of an experiment")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{str(path)!r} can't be read: {error.strerror}") from None
    except UnicodeError:
        raise UserError(f"{path.name} is not UTF-8 text") from None
    return parse_definition(text, path.name)


def parse_definition(text: str, name: str) -> dict[str, Any]:
    """As `read_definition`, from the text of a file called `name`."""
    try:
        found = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{name}{where}: {said}") from None
    try:
        _check_metrics(kind_from(found))
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return found


def kind_from(definition: Any) -> Kind:
    """The kind that a definition describes.

    Args:
        definition: a mapping with `name`, `title`, `factors` (a list of `name`, `default` and `title`), and as wanted
            `question`, `settings`, `metrics`, `baseline`, `matched`, `equal`, `unjudged`, `recipes` (by factor and
            value: `settings` and `meaning`) and `known`; see `sae.experiments.plan.Kind`.

    Raises:
        UserError: for a field that is missing, unknown or of the wrong kind, a factor or setting that training does not
            have, or a cell that can't be trained; naming it.
    """
    from sae.experiments import KINDS, MEASUREMENTS

    if not isinstance(definition, dict):
        raise UserError("an experiment is a mapping with name, title and factors")
    if unknown := [key for key in definition if key not in FIELDS]:
        raise UserError(f"{unknown[0]!r} is no field of an experiment; fields are: {', '.join(FIELDS)}")
    if missing := [key for key in ("name", "title", "factors") if key not in definition]:
        raise UserError(f"the field {missing[0]!r} is missing")
    name = _text(definition, "name")
    if not _NAME.fullmatch(name):
        raise UserError(f"name {name!r}: take up to 60 lower-case letters, digits and '-'")
    if name in KINDS or name in MEASUREMENTS:
        raise UserError(f"name {name!r} is that of a built-in experiment: take another")
    recipes = _recipes(definition)
    factors = _factors(definition, recipes)
    baseline = _mapping(definition, "baseline")
    for factor in baseline:
        if factor not in {one.name for one in factors}:
            raise UserError(f"baseline: {factor!r} is no factor of this experiment")
    kind = Kind(
        name=name,
        title=_text(definition, "title"),
        question=_text(definition, "question", ""),
        factors=factors,
        settings=_mapping(definition, "settings"),
        metrics=_metrics(definition),
        baseline=baseline,
        matched=_text(definition, "matched", ""),
        equal=_text(definition, "equal", ""),
        unjudged=_text(definition, "unjudged", ""),
        recipes=recipes,
        known=_text(definition, "known", ""),
    )
    _check_trains(kind)
    return kind


def _check_metrics(kind: Kind) -> None:
    """Of a definition that is read: what was kept with an experiment may name metrics of another version."""
    from sae.figures.style import METRICS, is_metric

    for field, names in (("metrics", kind.metrics), ("matched", (kind.matched,) if kind.matched else ())):
        if strange := [name for name in names if not is_metric(name)]:
            near = difflib.get_close_matches(strange[0], METRICS, n=1)
            said = f"did you mean {near[0]}?" if near else "take such as ev_total, dead or l0"
            raise UserError(f"{field}: {strange[0]!r} is no metric of a run; {said}")


def _check_trains(kind: Kind) -> None:
    """Every setting is one of training, every default cell can be trained, and the baseline's is among them."""
    plan = resolve(kind, Spec(kind.name, kind.name, "any"))
    if kind.baseline and not any(kind.baseline.items() <= run.factors.items() for run in plan.runs):
        raise UserError(f"baseline {kind.baseline}: no cell of the factors' defaults has these values")


def _factors(definition: dict[str, Any], recipes: dict[str, dict[str, Recipe]]) -> tuple[Factor, ...]:
    listed = definition["factors"]
    if not isinstance(listed, list) or not listed:
        raise UserError("factors: give a list with at least one, each with name, default and title")
    found: list[Factor] = []
    for number, one in enumerate(listed):
        where = f"factor {number + 1}"
        if not isinstance(one, dict) or set(one) - {"name", "default", "title"} or "name" not in one:
            raise UserError(f"{where}: give name, default (a list of values) and title, nothing else")
        name, default = _text(one, "name"), one.get("default", [])
        if name in {factor.name for factor in found}:
            raise UserError(f"{where}: {name!r} stands twice")
        if not isinstance(default, list) or not all(_plain(value) for value in default):
            raise UserError(f"{where} ({name}): default must be a list of numbers and words")
        if not default and name not in (*SLICE_FACTORS, LAYERS):
            raise UserError(f"{where} ({name}): default is an empty list")
        if name in recipes and (strange := [value for value in default if value not in recipes[name]]):
            raise UserError(f"{where} ({name}): {strange[0]!r} is none of its recipes")
        found.append(Factor(name, tuple(default), _text(one, "title", name)))
    if lost := [name for name in recipes if name not in {factor.name for factor in found}]:
        raise UserError(f"recipes: {lost[0]!r} is no factor of this experiment")
    return tuple(found)


def _recipes(definition: dict[str, Any]) -> dict[str, dict[str, Recipe]]:
    found: dict[str, dict[str, Recipe]] = {}
    for factor, several in _mapping(definition, "recipes").items():
        if not isinstance(several, dict) or not several:
            raise UserError(f"recipes of {factor}: give a mapping from a value to its settings and meaning")
        found[str(factor)] = {}
        for value, one in several.items():
            if not isinstance(one, dict) or set(one) - {"settings", "meaning"}:
                raise UserError(f"recipe {value!r} of {factor}: give settings and meaning, nothing else")
            found[str(factor)][str(value)] = Recipe(_mapping(one, "settings"), _text(one, "meaning", ""))
    return found


def _metrics(definition: dict[str, Any]) -> tuple[str, ...]:
    found = definition.get("metrics", list(Kind.metrics))
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise UserError(
            "metrics: give a list of metrics' names, such as ev_total and dead; the first is the primary one"
        )
    return tuple(found)


def _mapping(definition: dict[str, Any], field: str) -> dict[str, Any]:
    found = definition.get(field, {})
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UserError(f"{field}: give a mapping from names to values")
    if field in ("settings", "baseline") and (strange := [key for key, value in found.items() if not _plain(value)]):
        raise UserError(f"{field}: {strange[0]!r} must be a number, a word, true or false")
    return found


def _text(definition: dict[str, Any], field: str, default: str | None = None) -> str:
    found = definition.get(field, default)
    if not isinstance(found, str) or len(found) > 2000:
        raise UserError(f"{field}: give a text, not {type(found).__name__}")
    return found.strip()


def _plain(value: Any) -> bool:
    return isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def definition_of(kind: Kind) -> dict[str, Any]:
    """What `kind_from` makes a kind like this one from, fields that say nothing left out."""
    found: dict[str, Any] = {
        "name": kind.name,
        "title": kind.title,
        "question": kind.question,
        "factors": [
            {"name": factor.name, "default": list(factor.default), "title": factor.title} for factor in kind.factors
        ],
        "settings": dict(kind.settings),
        "metrics": list(kind.metrics),
        "baseline": dict(kind.baseline),
        "matched": kind.matched,
        "equal": kind.equal,
        "unjudged": kind.unjudged,
        "recipes": {
            factor: {value: {"meaning": one.meaning, "settings": dict(one.settings)} for value, one in several.items()}
            for factor, several in kind.recipes.items()
        },
        "known": kind.known,
    }
    return {name: value for name, value in found.items() if value}


def to_yaml(definition: dict[str, Any]) -> str:
    """A definition as the text of a file; `parse_definition` reads it back."""
    return yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=110)
