"""Problems by a short spec."""

import json

import pytest

from sae.common.errors import UserError
from sae.problems import generate, load, load_hub, specs


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "three.jsonl"
    path.write_text("".join(json.dumps({"question": f"Q{i}?", "answer": f"#### {i}"}) + "\n" for i in range(3)))
    return path


def test_a_file(path):
    assert len(load(path)) == len(load(str(path))) == 3
    assert len(load(path, limit=2)) == 2


def test_a_file_with_nothing_in_it(path):
    path.write_text("")
    with pytest.raises(UserError, match="empty"):
        load(path)
    path.write_text("{}\n")
    with pytest.raises(UserError, match="line 0"):
        load(path)


def test_generated():
    assert load("generated:20").examples == generate(20).examples
    assert load("generated:20", seed=3).examples == generate(20, 3).examples
    assert load("generated", limit=5).examples == generate(5).examples
    assert len(load("generated:20", limit=50)) == 20


@pytest.mark.parametrize(
    ("part", "label"),
    [("unseen-numbers", "unseen_numbers"), ("unseen-phrasings", "unseen_phrasing"),
     ("unseen-templates", "unseen_template")],
)  # fmt: skip
def test_generated_parts(part, label):
    assert all(e.labels[label] for e in load(f"generated:20:{part}").examples)


def test_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(specs, "load_hub", lambda *args, **kwargs: asked.append((args, kwargs)))
    load("gsm8k")
    load("gsm8k:test", limit=7)
    assert asked == [(("train",), {"limit": None}), (("test",), {"limit": 7})]


@pytest.mark.parametrize(
    "spec",
    ["", "gsm9k", "gsm8k:", "gsm8k:dev", "gsm8k:test:1", "generated:many", "generated:0", "generated:-5", "generated:٣",
     "generated:99999999999", "generated:5:some", "generated:5:all:1", "missing.jsonl", "problems.csv"],
)  # fmt: skip
def test_unknown_specs(spec):
    with pytest.raises(UserError) as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_limits_must_be_positive(path):
    for spec in (path, "generated:5"):
        with pytest.raises(UserError, match="at least 1"):
            load(spec, limit=0)


def test_a_hub_limit_is_checked_before_the_network():
    with pytest.raises(UserError, match="at least 1"):
        load_hub(limit=0)
