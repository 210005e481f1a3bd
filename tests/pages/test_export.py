"""The Run page's export: what a format makes of the run, or why it can't hold it, and the table of all."""

from __future__ import annotations

from sae.formats import forms
from tests.pages.test_home import words


def run_of(results, preset):
    return next(r["id"] for r in results.experiment("both").content["runs"] if r["factors"]["preset"] == preset)


def test_a_run_that_fits_is_offered_and_its_command_shown(open_page, results):
    run = run_of(results, "corrected")
    at = open_page("run", results, run=run, view="export", format="dictionary_learning")
    assert not at.exception and not at.error
    assert "It becomes AutoEncoderTopK" in words(at).replace("\\", "")
    (button,) = [one for one in at.get("download_button") if one.proto.label.startswith("Download, ")]
    assert not button.proto.disabled
    assert any(f"export {run} --format dictionary_learning --out" in code.value for code in at.code)
    table = next(table.value for table in at.dataframe if "SAE" in table.value)
    assert len(table) == len(forms.table()) and table["SAE"].iloc[0] == "topk"


def test_a_run_that_does_not_fit_is_refused_with_the_reason_and_what_it_fits(open_page, results):
    at = open_page("run", results, run=run_of(results, "published"), view="export", format="sparsify")
    assert not at.exception and not at.error
    assert "sparsify can't hold this SAE: it takes the largest after ReLU" in at.info[0].value.replace("\\", "")
    assert "It fits SAELens" in at.info[0].value
    assert not [one for one in at.get("download_button") if one.proto.label.startswith("Download, ")]
