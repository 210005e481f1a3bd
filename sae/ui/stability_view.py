"""Whether other seeds found the same features: a line on a feature's card, a summary on the Run page."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.ui import empty, matched, page, reproduce
from sae.ui.panel import figure_panel
from sae.ui.words import count, number, plural, share
from sae.workspace.comparing import siblings

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

_HELP = (
    "Found again: the feature of another seed that is matched to it one to one (largest total cosine of decoder rows) "
    "has a cosine of {threshold:g} or more. The median is over the other seeds. By chance: the median of what the "
    "nearest of as many random directions reaches, {chance}.{start}"
)
_CHANCE = {"random": "uniform ones", "alike": "ones that spread as the decoders do"}


def badge(run: RunFolder, feature: int) -> None:
    """The card's line; nothing for a dead feature, or where no other seed was trained."""
    with contextlib.suppress(UserError):  # the table, which reads the same, has said what is wrong
        found = matched.stability(run)
        line = None if found is None else found.of(feature)
        if found is not None and line is not None:
            st.markdown(sentence(line, found.notes), help=help_text(found.notes))


def sentence(line: Mapping[str, Any], notes: Mapping[str, Any]) -> str:
    """Markdown. `line`: a line of `Stability.features`; `notes`: its notes."""
    seeds = int(line["seeds"])
    colour = "blue" if line["found"] > seeds / 2 else "gray"
    of = f"{int(line['found'])} of {seeds} other {plural(seeds, 'seed')}"
    return (
        f":{colour}-badge[Found again in {of}] median cosine **{number(line['median_similarity'], 2)}**; "
        f"by chance {number(chance(notes), 2)}"
    )


def chance(notes: Mapping[str, Any]) -> float:
    """The larger of the medians that chance reaches."""
    return max(notes["nulls"].values(), default=float("nan"))


def help_text(notes: Mapping[str, Any]) -> str:
    """What the numbers mean, with those of this run."""
    said = ", ".join(f"{value:.2f} for {_CHANCE[name]}" for name, value in notes["nulls"].items())
    return _HELP.format(threshold=notes["threshold"], chance=said, start=_start(notes))


def _start(notes: Mapping[str, Any]) -> str:
    if notes["shared_start"] is None:
        return ""
    return (
        f" Seeds start from the data: two of them have about {share(notes['shared_start'])} of their starting "
        "directions in common, and part of what they share may come from there."
    )


def _ask(run: RunFolder) -> None:
    """A button where there are other seeds and looking through them takes long."""
    others = siblings(page.workspace(), run)
    if others:
        st.button(
            f"Look for its features in {len(others)} other {plural(len(others), 'seed')}", key="stability_ask",
            icon=":material/search:", on_click=lambda: st.session_state.update(stability_of=run.id),
            help="May take minutes; what is found is kept in the run's folder.",
        )  # fmt: skip


def summary(run: RunFolder) -> None:
    """How many of the run's features other seeds have too; nothing where no other seed was trained."""
    from sae.analysis.matching_seeds import found_in
    from sae.figures.matching import found_again

    found = matched.stability(run, anyway=st.session_state.get("stability_of") == run.id)
    if found is None:
        _ask(run)
        return
    notes, table = found.notes, found_in(found.features)
    seeds = int(notes["seeds"])
    left, right = st.columns([1, 1.15], gap="medium", vertical_alignment="center")
    with left:
        figure_panel(
            found_again(table, theme=page.theme(), height=230), table, key="run_stability",
            title="Found again in other seeds", meaning="Living features by how many other seeds have them too.",
            formula=help_text(notes), n=f"{count(len(found.features))} living features, {seeds} other "
            f"{plural(seeds, 'seed')}", filename=f"{run.id}-stability",
            reproduce=reproduce.of_run(
                run, f"run stability {run.id} --json",
                "from sae.analysis.matching_seeds import found_in\nfrom sae.figures.matching import found_again\n\n"
                "found_again(found_in(run.stability.features)).show()",
            ),
        )  # fmt: skip
    with right:
        st.markdown(
            f"**{share(notes['found_in_most'])}** of the living features are found again in more than half of {seeds} "
            f"other {plural(seeds, 'seed')}; median cosine **{number(notes['median_similarity'], 2)}**, by chance "
            f"{number(chance(notes), 2)}."
        )
        if _start(notes):
            st.caption(_start(notes).strip())
        with st.container(horizontal=True, gap="medium"):
            experiment = run.config.get("experiment")
            empty.link("features", "Those that no other seed has", experiment=experiment, run=run.id, show="unstable")
            other = notes["others"][0]["run"]
            empty.link("compare", "Match with another seed", runs=[run.id, other], view="features")
