"""Experiments defined in YAML: built-in kinds there and back, and what is wrong with a file, in one line."""

import pytest

from sae.common.errors import UserError
from sae.experiments import KINDS, kind_of_spec
from sae.experiments.definition import definition_of, kind_from, parse_definition, read_definition, to_yaml
from sae.experiments.plan import Spec, resolve

MINE = """
name: depth
title: Rates
factors:
  - {name: lr, default: [0.001, 0.01], title: rate}
  - {name: k, default: [4], title: K}
  - {name: start, default: [tied, linear], title: start}
settings: {epochs: 3, d_sae: 16}
baseline: {lr: 0.001, start: tied}
metrics: [ev_total, dead]
recipes:
  start:
    tied: {meaning: as it should be, settings: {encoder_init: tied}}
    linear: {settings: {encoder_init: linear}}
"""


def test_a_definition_becomes_the_runs_that_it_describes():
    kind = kind_from(parse_definition(MINE, "f.yaml"))
    plan = resolve(kind, Spec("depth", "x", "rows"))
    cells = {
        (run.config.lr, run.config.as_dict()["encoder_init"], run.config.k, run.config.epochs) for run in plan.runs
    }
    assert cells == {(lr, start, 4, 3) for lr in (0.001, 0.01) for start in ("tied", "linear")}
    assert kind.ablates and kind.recipes["start"]["tied"].meaning == "as it should be"


@pytest.mark.parametrize("name", list(KINDS))
def test_built_in_kinds_as_yaml_train_the_same(name):
    text = to_yaml({**definition_of(KINDS[name]), "name": "mine"})
    kind = kind_from(parse_definition(text, "mine.yaml"))
    factors = {"layer": [0], "position": [1]} if kind.over_slices else {}
    one, other = (resolve(each, Spec(each.name, "x", "rows", factors=factors)) for each in (KINDS[name], kind))
    assert [(run.factors, run.config) for run in one.runs] == [(run.factors, run.config) for run in other.runs]
    for field in ("title", "question", "metrics", "baseline", "matched", "known"):
        assert getattr(kind, field) == getattr(KINDS[name], field)


def test_a_specification_carries_its_definition():
    definition = parse_definition(MINE, "f.yaml")
    spec = Spec("depth", "x", "rows", definition=definition)
    assert kind_of_spec(Spec(**spec.as_dict()).as_dict()).title == "Rates"
    assert "definition" not in Spec("topk-grid", "x", "rows").as_dict()
    with pytest.raises(UserError, match="the definition is of 'depth', not of 'other'"):
        kind_of_spec({"kind": "other", "definition": definition})


@pytest.mark.parametrize(("change", "said"), [
    (("name: depth", "name: topk-grid"), "built-in experiment"),
    (("name: depth", "name: De pth"), "lower-case"),
    (("title: Rates", "titel: Rates"), "'titel' is no field of an experiment; fields are: name, title"),
    (("title: Rates\n", ""), "the field 'title' is missing"),
    (("title: Rates", "title: [1]"), "title: give a text, not list"),
    (("epochs: 3", "epoch: 3"), "'epoch' is not a setting of training"),
    (("epochs: 3", "epochs: many"), "epochs can't be 'many'"),
    (("d_sae: 16", "d_sae: 2"), "k 4 is larger than d_sae 2"),
    (("lr: 0.001, start: tied", "size: 3"), "'size' is no factor"),
    (("lr: 0.001, start", "lr: 0.5, start"), "no cell of the factors' defaults"),
    (("default: [4]", "default: 4"), "factor 2 (k): default must be a list"),
    (("default: [4]", "default: []"), "factor 2 (k): default is an empty list"),
    (("[tied, linear]", "[tied, other]"), "'other' is none of its recipes"),
    (("name: k,", "name: lr,"), "factor 2: 'lr' stands twice"),
    (("  start:\n    tied", "  begin:\n    tied"), "recipes: 'begin' is no factor"),
    (("metrics: [ev_total, dead]", "metrics: ev_total"), "metrics: give a list"),
    (("metrics: [ev_total, dead]", "metrics: [ev_totl]"), "'ev_totl' is no metric of a run; did you mean ev_total?"),
    (("metrics: [ev_total, dead]", "matched: lO"), "matched: 'lO' is no metric of a run"),
    (("default: [4]", "default: [true]"), "k can't be True: it takes int"),
    (("settings: {epochs: 3", "settings: {epochs: 3, epochs: 4"), "line 8: 'epochs' stands twice"),
    (("title: Rates", "title: !!python/object/apply:os.system [ls]"), "line 3: could not determine a constructor"),
    (("title: Rates", "title: &a Rates\nknown: *a"), "names for parts"),
    (("title: Rates", "title: [Rates"), "f.yaml, line 4: expected"),
    ((MINE, "- 1"), "an experiment is a mapping"),
])  # fmt: skip
def test_what_is_wrong_is_one_line(change, said):
    with pytest.raises(UserError) as error:
        parse_definition(MINE.replace(*change), "f.yaml")
    assert str(error.value).startswith("f.yaml") and said in str(error.value) and "\n" not in str(error.value)


def test_files_that_can_not_be_read(tmp_path):
    with pytest.raises(UserError, match="can't be read: No such file"):
        read_definition(tmp_path / "none.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(UserError, match="larger than"):
        read_definition(tmp_path / "big.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_definition(tmp_path / "latin.yaml")
