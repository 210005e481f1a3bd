"""Claims: what the founding documents say, number by number, beside what was measured here."""

from __future__ import annotations

import shlex

import streamlit as st

from sae.analysis.claims import VERDICTS
from sae.analysis.claims.grids import GRID
from sae.ui import address, claims_view, empty, page, pickers
from sae.ui.reproduce import Reproduce
from sae.workspace.evidence import choose_preset

ALL = "all"
DRAWN_FROM = {claims_view.OWN: "the report's table", claims_view.HERE: "this experiment"}
page.head("Claims", "What do the founding documents claim, number by number, and what came out here?")

with page.errors_shown("reading the claims"):
    documents = claims_view.documents()
    kinds = {kind for document in documents for kind in document.experiment_kinds}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="claims_controls"):
        experiment = pickers.pick_experiment(page.workspace(), lambda one: one.kind in kinds, label="Held against")
        preset = None
        if experiment is not None:
            document = claims_view.about(experiment.kind)[0]
            presets = list(experiment.factors.get("preset", []))
            if len(presets) > 1:
                preset = pickers.pick_choice(
                    "Recipe", presets, name="preset", default=choose_preset(experiment, document)
                )
            if not any(run.done for run in experiment.runs()):
                page.note(f"Experiment {experiment.name} has no finished run yet: claims that need one wait for it.")
                experiment = None
        else:
            document = next(d for d in documents if GRID in d.tables)
        view = "claims"
        if GRID in document.tables:  # the figures are of a grid
            view = pickers.pick_choice(
                "View", ["claims", "figures"], name="view", default="claims", format=str.capitalize, look="buttons"
            ) or "claims"  # fmt: skip
        source = claims_view.OWN
        if view == "figures" and experiment is not None:
            source = pickers.pick_choice(
                "Drawn from", list(DRAWN_FROM), name="source", default=claims_view.OWN, look="buttons",
                format=DRAWN_FROM.__getitem__,
            ) or claims_view.OWN  # fmt: skip

    command = "python -m sae claims" + (f" --experiment {shlex.quote(experiment.name)}" if experiment else "")
    reproduce = Reproduce(command + (f" --preset {preset}" if preset else ""), claims_view.python(experiment, preset))
    found = claims_view.table(experiment, preset)
    measured = claims_view.measured(experiment, document, preset) if experiment is not None else None
    if view == "figures":
        claims_view.figures(document, measured, source, reproduce)
    else:
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="claims_filters"):
            titles = list(dict.fromkeys(found["document"]))
            if len(titles) > 1:
                title = pickers.pick_choice("Document", [ALL, *titles], name="document", default=ALL)
                found = found if title == ALL else found[found["document"] == title]
            verdicts = pickers.pick_many("Verdict", list(VERDICTS), name="verdict", placeholder="any")
            sections = list(dict.fromkeys(name for text in found["section"] for name in text.split(", ")))
            section = pickers.pick_choice("Section", [ALL, *sections], name="section", default=ALL)
            evidence = pickers.pick_choice(
                "From", [ALL, *dict.fromkeys(found["evidence"])], name="evidence", default=ALL
            )
            search = pickers.pick_text("Search", name="search", placeholder="words of a claim")
        if section != ALL:
            found = found[[section in text.split(", ") for text in found["section"]]]
        if evidence != ALL:
            found = found[found["evidence"] == evidence]
        if search:
            said = found["words"] + " " + found["says"] + " " + found["value"] + " " + found["reason"]
            found = found[said.str.contains(search, case=False, regex=False)]
        claims_view.counts(found)
        if measured is not None:
            claims_view.setting(document, measured)
        if verdicts:
            found = found[found["verdict"].isin(verdicts)]
        if experiment is None:
            with st.container(horizontal=True, gap="small"):
                st.caption("No experiment to hold them against yet: what needs one waits, the documents' own "
                           "arithmetic stands.", width="content")  # fmt: skip
                empty.link("train", "Train a grid")
        if found.empty:
            st.info("No claim passes these filters.")
        else:
            asked = address.get("claim")
            ids = list(found["id"])
            chosen = asked if asked in ids else ids[0]
            left, right = st.columns([2.2, 1], gap="small")
            with left:
                claims_view.listing(found, reproduce)
            with right:
                claims_view.detail(found[found["id"] == chosen].iloc[0].to_dict())
