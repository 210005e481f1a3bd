"""Features: the table, the card, what is written about a feature, and features that are dead or not there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sae.common.files import write_parquet
from sae.report.examples import cut
from sae.ui import card_examples, loaded
from sae.workspace.notes import Notes
from tests.pages.test_home import words


def plain_words(at) -> str:
    return words(at).replace("\\", "").replace("**", "")


@pytest.fixture
def run(results):
    (found,) = [
        r["id"] for r in results.experiment("both").content["runs"]
        if r["factors"] == {"preset": "corrected", "k": 4, "d_sae": 32, "seed": 0}
    ]  # fmt: skip
    return results.run(found)


def shown(at) -> list[int]:
    return at.dataframe[0].value["feature"].tolist()


def test_without_a_run_the_way_to_one_is_shown(open_page, workspace):
    at = open_page("features", workspace)
    assert not at.exception
    assert "No finished run yet" in words(at)


def test_every_feature_and_the_first_ones_card(open_page, results, run):
    at = open_page("features", results, run=run.id)
    assert not at.exception and not at.error
    features = run.features().sort_values(["n_active", "feature"], ascending=[False, True])
    assert shown(at) == features["feature"].tolist()
    first = features.iloc[0]
    assert at.subheader[0].value.replace("\\", "") == f"Feature {first['feature']:,.0f}"
    share = f"{100 * first['n_active'] / 300:.1f} %"
    assert f"Active on {first['n_active']:,} of 300 rows ({share})" in plain_words(at)


def test_the_address_says_which_feature_order_and_filter(open_page, results, run):
    at = open_page("features", results, run=run.id, feature="7", sort="feature-rising", show="living")
    living = run.features().query("not dead")["feature"].tolist()
    assert shown(at) == living
    assert at.subheader[0].value == "Feature 7"
    assert f"{living.index(7) + 1} of {len(living)} listed" in words(at)
    at.button(key="card_next").click().run()
    assert at.subheader[0].value == f"Feature {living[living.index(7) + 1]}"
    at.button(key="card_previous").click().run()
    assert at.subheader[0].value == "Feature 7"


def test_search_by_words_of_the_strongest_examples(open_page, results, run):
    at = open_page("features", results, run=run.id, search="BAKES rolls")
    texts = {line["feature"]: line["text"] for line in at.dataframe[0].value.to_dict("records")}
    assert 0 < len(texts) <= 32
    at = open_page("features", results, run=run.id, search="nothing has this")
    assert at.info[0].value.replace("\\", "").startswith("No feature is found by “nothing has this”")
    assert not at.exception


@pytest.mark.parametrize("asked", ["99", "-4", "many"])
def test_a_feature_that_is_not_there(open_page, results, run, asked):
    at = open_page("features", results, run=run.id, feature=asked)
    assert not at.exception
    said = at.warning[0].value.replace("\\", "")
    assert asked in said
    if asked == "99":
        assert at.subheader[0].value == "Feature 31" and "0 to 31" in said


def test_a_dead_feature_says_how_near_it_came(open_page, results):
    for listed in results.experiment("both").content["runs"]:
        run = results.run(listed["id"])
        dead = run.features().query("dead")["feature"].tolist()
        if dead:
            break
    else:
        pytest.skip("no run of this grid has a dead feature")
    at = open_page("features", results, run=run.id, feature=str(dead[0]))
    assert not at.exception and not at.error
    said = at.info[0].value
    assert said.startswith("This feature is dead.") and "It came nearest on row" in said


def test_what_is_written_is_kept(open_page, own_results, run):
    at = open_page("features", own_results, run=run.id, feature="3")
    at.text_input(key=f"label_{run.id}_3").set_value("loaves *of* bread").run()
    at.text_area(key=f"note_{run.id}_3").set_value("fires on\nbaking").run()
    at.button(key="card_bookmark").click().run()
    kept = Notes(own_results.run_folder(run.id)).feature(3)
    assert (kept.label, kept.note, kept.bookmark) == ("loaves *of* bread", "fires on\nbaking", True)
    again = open_page("features", own_results, run=run.id, feature="3", show="labelled")
    assert shown(again) == [3]
    assert again.subheader[0].value == r"Feature 3 :gray[loaves \*of\* bread]"
    assert again.text_input(key=f"label_{run.id}_3").value == "loaves *of* bread"


def test_lists_by_hand(open_page, own_results, run):
    notes = Notes(own_results.run_folder(run.id))
    notes.add("to check", [5, 9])
    at = open_page("features", own_results, run=run.id, show="list to check", sort="feature")
    assert shown(at) == [9, 5]
    at.multiselect(key=f"lists_{run.id}_9").set_value([]).run()
    assert notes.lists() == {"to check": [5]}


def test_a_reader_can_not_write(open_page, own_results, run, monkeypatch):
    Notes(own_results.run_folder(run.id)).write(3, label="seen", note="a note")
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    at = open_page("features", own_results, run=run.id, feature="3")
    assert not at.exception
    assert at.text_input == [] or all(not box.key.startswith("label_") for box in at.text_input)
    assert "a note" in [text.value for text in at.text]
    with pytest.raises(KeyError):
        at.button(key="card_bookmark")


def test_a_map_that_is_missing_is_asked_for_once(open_page, own_results, no_supervisor):
    (run,) = own_results.experiment("tokens").runs()
    at = open_page("features", own_results, run=run.id)
    assert not at.exception and not at.error
    assert "until the UMAP is made" in words(at)
    jobs = [job for job in own_results.jobs.all() if job.kind == "map" and job.name == "tokens"]
    open_page("features", own_results, run=run.id)
    assert len([job for job in own_results.jobs.all() if job.kind == "map" and job.name == "tokens"]) == len(jobs) >= 1


def test_activations_that_are_gone_leave_the_rest(open_page, own_results, run):
    import shutil

    shutil.rmtree(own_results.activations_folder("rows"))
    at = open_page("features", own_results, run=run.id, feature="3")
    assert not at.exception
    assert at.error and shown(at)
    assert at.subheader[0].value.startswith("Feature 3")


def test_a_token_rows_text_is_shaded_where_the_feature_fires(results, monkeypatch):
    monkeypatch.setenv("SAE_WORKSPACE", str(results.root))
    (run,) = results.experiment("tokens").runs()
    codes = run.codes()
    feature = int(codes.n_active.argmax())
    lines = card_examples.strata(run, feature, 5)
    top = lines[lines["stratum"] == "top"]
    piece = loaded.slice_of(run)
    for line, example in zip(top.to_dict("records"), card_examples.shown(run, feature, top), strict=True):
        text = piece.activations.examples["question"].iloc[line["example"]]
        assert "".join(part for part, _ in example.segments) == text
        rows = np.flatnonzero(piece.rows["example"].to_numpy() == line["example"])
        dense = codes.csc()[:, feature].toarray().ravel()[rows]
        marked = [(part, value) for part, value in example.segments if value]
        expected = [
            (text[start:end], float(value))
            for start, end, value in zip(
                piece.rows["char_start"].iloc[rows], piece.rows["char_end"].iloc[rows], dense, strict=True
            ) if value
        ]  # fmt: skip
        assert [part for part, _ in marked] == [part for part, _ in expected]
        assert np.allclose([value for _, value in marked], [value for _, value in expected])
        assert example.value == pytest.approx(line["activation"])


def test_long_texts_are_cut_around_the_place():
    text = "x" * 1000 + "HERE" + "y" * 3000
    part, offset = cut(text, 1000, 200)
    assert len(part) == 200 and "HERE" in part and text[offset : offset + 200] == part
    assert cut("short", 3) == ("short", 0)
    assert cut(text, 4003, 200) == (text[-200:], len(text) - 200)


def put_examples(workspace, run, change) -> None:
    """Replace the examples' table by `change` of it, and forget what was kept about their labels."""
    path = workspace.activations_folder("rows") / "examples.parquet"
    write_parquet(path, change(pd.read_parquet(path)))
    for file in workspace.run_folder(run.id).glob("specificity*"):
        file.unlink()


def test_the_label_that_a_feature_goes_with(open_page, own_results, run):
    feature = int((run.features()["density"] - 0.4).abs().argmin())
    fires = np.isin(np.arange(300), run.codes().feature(feature)[0])
    put_examples(own_results, run, lambda examples: examples.assign(kind=np.where(fires, "on", "off")))
    at = open_page("features", own_results, run=run.id, sort="goes_with_f1", show="confirmed")
    assert not at.exception and not at.error
    lines = at.dataframe[0].value.set_index("feature")
    assert lines.index[0] == feature and lines.loc[feature, ["goes_with", "goes_with_f1"]].tolist() == ["kind on", 1.0]
    assert "Goes with: kind on (held-out half: precision 100.0 %, recall 100.0 %, base rate" in plain_words(at)
    assert (own_results.run_folder(run.id) / "specificity.parquet").exists()


def test_where_no_label_passes_the_card_says_so(open_page, results, run):
    at = open_page("features", results, run=run.id)
    shown_lines = at.dataframe[0].value
    without = shown_lines[shown_lines["goes_with"].isna() & (shown_lines["n_examples"] >= 20)]["feature"]
    at = open_page("features", results, run=run.id, feature=str(without.iloc[0]))
    assert "passes on both halves" in plain_words(at)


def test_examples_without_labels_have_no_such_column(open_page, own_results, run):
    put_examples(own_results, run, lambda examples: pd.DataFrame({"question": ["How many?"] * len(examples)}))
    at = open_page("features", own_results, run=run.id)
    assert not at.exception and not at.error
    assert "goes_with" not in at.dataframe[0].value and "Goes with" not in plain_words(at)


def test_a_reader_leaves_nothing_behind(open_page, own_results, run, monkeypatch):
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    put_examples(own_results, run, lambda examples: examples)
    at = open_page("features", own_results, run=run.id)
    assert not at.exception and "goes_with" in at.dataframe[0].value
    assert not list(own_results.run_folder(run.id).glob("specificity*"))
