"""Compare: which runs, what differs, matched features, families, and runs that can't be compared."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from sae.ui.compare_features import FATES
from tests.pages.test_home import words
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations


@pytest.fixture
def find(results):
    def found(**factors):
        runs = results.experiment("both").content["runs"]
        return next(r["id"] for r in runs if all(r["factors"].get(k) == v for k, v in factors.items()))

    return found


@pytest.fixture
def pair(find) -> list[str]:
    return [find(preset="corrected", k=4, d_sae=16, seed=seed) for seed in (0, 1)]


def cosines(results, pair):
    runs = [results.run(run) for run in pair]
    living = [np.flatnonzero(run.codes().n_active > 0) for run in runs]
    rows = [run.weights()["W_dec"][alive].astype(float) for run, alive in zip(runs, living, strict=True)]
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in rows]
    return living, unit[0] @ unit[1].T


def test_without_a_run_the_way_to_one_is_shown(open_page, workspace):
    at = open_page("compare", workspace)
    assert not at.exception and "No finished run yet" in words(at)


def test_opens_with_a_run_and_one_like_it(open_page, results):
    at = open_page("compare", results)
    assert not at.exception and not at.error
    first, second = (results.run(run) for run in at.multiselect(key="runs").value)
    assert at.query_params["runs"] == [first.id, second.id]
    assert {k: v for k, v in first.factors.items() if k != "seed"} == {
        k: v for k, v in second.factors.items() if k != "seed"
    }
    at = open_page("compare", results, run=second.id)
    assert not at.exception


def test_one_run_is_offered_others(open_page, results, pair):
    at = open_page("compare", results, runs=pair[:1])
    assert not at.exception and "Choose a second run" in at.info[0].value
    (button,) = [b for b in at.button if b.key == f"compare_with_{pair[1]}"]
    assert "another seed" in button.label
    button.click().run()
    assert at.query_params["runs"] == pair
    assert not at.exception and "seed 1" in at.dataframe[0].value


def test_only_what_differs_unless_all_is_asked_for(open_page, results, pair):
    at = open_page("compare", results, runs=pair)
    assert not at.exception and not at.error
    table = at.dataframe[0].value
    assert list(table.columns)[:4] == ["group", "what", "seed 0", "seed 1"]
    assert table["differs"].all()
    line = table[table["what"] == "Explained variance"].iloc[0]
    for seed, run in enumerate(pair):
        assert line[f"seed {seed}"] == f"{results.run(run).metrics['validation']['ev_total']:.3f}"
    assert "d sae" not in set(table["what"]) and "seed" in set(table["what"])
    at.toggle(key="all").set_value(True).run()
    every = at.dataframe[0].value
    assert "d sae" in set(every["what"]) and len(every) > len(table)
    assert every["differs"].sum() == len(table)
    assert len(at.get("plotly_chart")) == 1


def test_three_runs_have_the_whole_width_for_their_columns(open_page, results):
    ids = results.experiment("both").run_ids()

    def beside_the_curves(at):
        return [column.weight for column in at.columns if any("differs" in one.value for one in column.dataframe)]

    assert beside_the_curves(open_page("compare", results, runs=ids[:2]))
    at = open_page("compare", results, runs=ids[:3])
    assert not at.exception and not beside_the_curves(at)
    assert at.dataframe[0].value.shape[1] == 2 + 3 + 1


def test_matched_features_are_the_dense_assignments(open_page, results, pair):
    at = open_page("compare", results, runs=pair, view="features")
    assert not at.exception and not at.error
    living, similar = cosines(results, pair)
    best = np.maximum(similar, 0)
    total = best[linear_sum_assignment(-best)].sum()
    listed = at.dataframe(key="compare_pairs").value
    assert listed["similarity"].sum() == pytest.approx(total, abs=1e-4)
    assert listed["similarity"].is_monotonic_decreasing
    (counts,) = [shown.value.set_index("fate") for shown in at.dataframe if "first_share" in shown.value]
    assert list(counts) == ["first", "first_share", "second", "second_share"]
    assert counts["first"].sum() == len(living[0]) and counts["second"].sum() == len(living[1])
    assert all(f"*{fate.capitalize()}*: {meaning[:20].lower()}" in words(at) for fate, meaning in FATES.items())
    first = listed.iloc[0]
    assert at.subheader[0].value == f"Feature {int(first['feature'])} and feature {int(first['partner'])}"
    assert f"Decoder cosine **{similar.max():.3f}**" in words(at)
    assert len(at.get("plotly_chart")) == 3


def test_the_pair_of_the_address_by_correlation_and_its_counts(open_page, results, pair):
    runs = [results.run(run) for run in pair]
    a, b = (int(run.codes().n_active.argmax()) for run in runs)
    at = open_page("compare", results, runs=pair, view="features", by="correlation", feature=str(a), partner=str(b))
    assert not at.exception and not at.error
    dense = [np.zeros(300) for _ in runs]
    for side, run, feature in zip(dense, runs, (a, b), strict=True):
        rows, values = run.codes().feature(feature)
        side[rows] = values
    said = words(at).replace("**", "")
    both = int(((dense[0] != 0) & (dense[1] != 0)).sum())
    r = np.asarray(np.corrcoef(np.array(dense)))[0, 1]
    assert f"on 300 shared rows r = {r:.3f}, both active on {both}," in said
    at = open_page("compare", results, runs=pair, view="features", feature="900", partner="1")
    assert "no living features 900 and 1" in at.warning[0].value.replace("\\", "")


def test_one_fate_and_the_other_side(open_page, results, pair):
    at = open_page("compare", results, runs=pair, view="features", list="2", threshold="0.3")
    listed = at.dataframe(key="compare_pairs").value
    assert sorted(listed["feature"]) == cosines(results, pair)[0][1].tolist()
    fate = listed["fate"].iloc[0]
    at = open_page("compare", results, runs=pair, view="features", list="2", threshold="0.3", fate=fate)
    assert set(at.dataframe(key="compare_pairs").value["fate"]) == {fate}


def test_a_family_and_the_way_to_one(open_page, results, find, pair):
    at = open_page("compare", results, runs=pair, view="family")
    assert not at.exception and "different dictionary sizes" in at.info[0].value
    next(b for b in at.button if b.label.startswith("Compare d_sae")).click().run()
    sizes = [find(preset="corrected", k=4, d_sae=d, seed=0) for d in (16, 32)]
    assert at.query_params["runs"] == sizes and not at.exception
    at = open_page("compare", results, runs=sizes[::-1], view="family", threshold="0.5")
    assert not at.exception and not at.error
    living, similar = cosines(results, sizes)
    nearest = similar.argmax(axis=0)
    children = np.bincount(nearest[similar.max(axis=0) >= 0.5], minlength=len(living[0]))
    table = at.dataframe(key="compare_families").value.set_index("feature")
    assert table["generation_1"].loc[living[0]].tolist() == children.tolist()


def test_what_cannot_be_compared_says_why(open_page, results, pair):
    tokens = results.experiment("tokens").run_ids()[0]
    at = open_page("compare", results, runs=[pair[0], tokens], view="features")
    assert not at.exception and not at.error
    said = words(at).replace("\\", "")
    assert "write into 24 and 12 dimensions" in said and "share no rows" in said
    assert "see Differences" in at.info[0].value
    at = open_page("compare", results, runs=[pair[0], tokens])
    assert not at.exception and "d in" in set(at.dataframe[0].value["what"])


def test_more_than_four_and_unknown_runs_are_said(open_page, results):
    ids = results.experiment("both").run_ids()
    at = open_page("compare", results, runs=[*ids[:5], "nobody"])
    assert not at.exception and at.multiselect(key="runs").value == ids[:4]
    said = " ".join(warning.value for warning in at.warning).replace("\\", "")
    assert "nobody" in said and "first 4" in said


def test_layers_share_rows_and_no_directions(own_results, tmp_path, pair):
    from sae.workspace.comparing import match_runs, why_not

    one, other = (own_results.run(run) for run in pair)
    content = json.loads((other.folder / "config.json").read_text())
    content["data"]["layer"] = 3
    (other.folder / "config.json").write_text(json.dumps(content))
    other = own_results.run(other.id)
    reasons = why_not(own_results, one, other)
    assert "different spaces" in str(reasons["cosine"]) and reasons["correlation"] is None
    with pytest.raises(Exception, match="different spaces"):
        match_runs(own_results, one, other)
    assert len(match_runs(own_results, one, other, "correlation").features)


def test_the_same_problems_through_another_model_share_rows(own_results, tmp_path, pair):
    from sae.common.files import write_parquet
    from sae.workspace.comparing import why_not

    put_activations(own_results, "twin", n=300, seed=5)
    examples = own_results.open_activations("rows").examples
    write_parquet(own_results.activations_folder("twin") / "examples.parquet", examples)
    train_grid(own_results, tmp_path / "scratch", "twin", k=(4,), d_sae=(16,), activations="twin")
    for job in own_results.jobs.active():
        own_results.jobs.cancel(job.id)
    twin = own_results.run(own_results.experiment("twin").run_ids()[0])
    reasons = why_not(own_results, own_results.run(pair[0]), twin)
    assert reasons["correlation"] is None and "same model" in str(reasons["cosine"])


def test_the_card_and_the_table_say_which_seeds_have_a_feature(open_page, results, pair):
    from sae.workspace.stability import stability_of

    found = stability_of(results, results.run(pair[0]), keep=False)
    assert found is not None
    line = found.features.sort_values("median_similarity").iloc[-1]
    at = open_page("features", results, run=pair[0], feature=str(int(line["feature"])), sort="seed_cosine")
    assert not at.exception and not at.error
    said = words(at)
    assert (
        f"Found again in {int(line['found'])} of 1 other seed] median cosine **{line['median_similarity']:.2f}**"
        in said
    )
    table = at.dataframe(key="feature_table").value
    assert table["feature"].iloc[0] == line["feature"] and table["seed_cosine"].iloc[0] == line["median_similarity"]


def test_the_run_page_sums_up_its_seeds_and_links_here(open_page, results, pair):
    from sae.workspace.stability import stability_of

    found = stability_of(results, results.run(pair[0]), keep=False)
    assert found is not None
    at = open_page("run", results, run=pair[0])
    assert not at.exception and not at.error
    said = words(at)
    assert f"**{100 * found.notes['found_in_most']:.1f} %** of the living features are found again" in said
    tokens = results.experiment("tokens").run_ids()[0]
    at = open_page("run", results, run=tokens)
    assert not at.exception and "found again" not in words(at)
    at = open_page("features", results, run=tokens)
    assert not at.exception and "Found again" not in words(at)
    assert "seed_cosine" not in at.dataframe(key="feature_table").value


def test_runs_of_the_grid_are_taken_here(open_page, results, pair):
    at = open_page("grid", results, experiment="both", view="runs", compare=pair)
    assert not at.exception and not at.error
    (link,) = [link for link in at.get("page_link") if link.proto.label == "Compare" and link.proto.query_string]
    assert all(run in link.proto.query_string for run in pair)
