"""The Claims page's parts: verdicts counted, the table, one claim in full, three figures of what a document says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from sae.analysis.claims import VERDICTS, Document, Measured, evaluate, load_all
from sae.analysis.claims.grids import GRID
from sae.analysis.claims.levels import other_activations
from sae.analysis.death_formula import death_formula
from sae.analysis.pareto import dominators
from sae.analysis.variance_share import variance_share, variance_share_range
from sae.figures import frontier, shares
from sae.ui import address, empty, page
from sae.ui.panel import figure_panel, table_panel
from sae.ui.reproduce import Reproduce
from sae.ui.words import count, plain
from sae.workspace import Workspace
from sae.workspace.evidence import companions, gather

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder

COLORS = {
    "reproduced": "green",
    "differs": "orange",
    "refuted": "red",
    "not testable here": "gray",
    "not measured yet": "blue",
}
OWN, HERE = "document", "measured"
_HEIGHT = 330


@st.cache_resource(max_entries=1, show_spinner=False)
def documents() -> list[Document]:
    """The documents that ship with the project."""
    return load_all()


def measured(experiment: ExperimentFolder, document: Document, preset: str | None) -> Measured:
    """What the experiment offers as evidence, read again when a run finishes. Raises UserError if none has."""
    root = str(page.workspace().root)
    return _measured(root, experiment.name, document.id, preset, _stamp(experiment))


def table(experiment: ExperimentFolder | None, preset: str | None) -> pd.DataFrame:
    """Every claim, held against the experiment where there is one. A table that is shared: never write to it."""
    if experiment is None:
        return _table("", None, None, 0)
    return _table(str(page.workspace().root), experiment.name, preset, _stamp(experiment))


def python(experiment: ExperimentFolder | None, preset: str | None) -> str:
    """The Python that makes `table` again."""
    if experiment is None:
        return "from sae.analysis.claims import evaluate, load_all\n\nevaluate(load_all())"
    return (
        "from sae.analysis.claims import evaluate, load_all\nfrom sae.workspace import Workspace\n"
        "from sae.workspace.evidence import gather\n\n"
        f'documents, experiment = load_all(), Workspace.at().experiment("{experiment.name}")\n'
        "about = [document for document in documents if experiment.kind in document.experiment_kinds]\n"
        f"evaluate(documents, {{document.id: gather(experiment, document, {preset!r}) for document in about}})"
    )


def about(kind: str) -> list[Document]:
    """The documents whose claims are held against experiments of that kind."""
    return [document for document in documents() if kind in document.experiment_kinds]


def _stamp(experiment: ExperimentFolder) -> int:
    """Changes when a run of the experiment, or of one that is read beside it, finishes or is measured."""
    read = {one.name: one for document in about(experiment.kind) for one in companions(experiment, document).values()}
    files = [run.folder / "metrics.json" for one in read.values() for run in one.runs()]
    for one in experiment.workspace.experiments():
        if one.source in read:
            files += [one.part_folder(run) / "results.json" for run in one.measured_runs()]
    return sum(file.stat().st_mtime_ns for file in files if file.exists())


@st.cache_resource(max_entries=16, show_spinner="Reading what was measured")
def _measured(root: str, name: str, document: str, preset: str | None, stamp: int) -> Measured:
    return gather(Workspace.at(root).experiment(name), next(d for d in documents() if d.id == document), preset)


@st.cache_resource(max_entries=16, show_spinner="Holding the claims against what was measured")
def _table(root: str, name: str | None, preset: str | None, stamp: int) -> pd.DataFrame:
    if name is None:
        return evaluate(documents())
    kind = Workspace.at(root).experiment(name).kind
    return evaluate(documents(), {d.id: _measured(root, name, d.id, preset, stamp) for d in about(kind)})


def counts(claims: pd.DataFrame) -> None:
    """How many claims got which verdict."""
    found = claims["verdict"].value_counts()
    badges = [f":{COLORS[name]}-badge[{found.get(name, 0)} {name}]" for name in VERDICTS]
    st.markdown(" ".join(badges))


def setting(document: Document, found: Measured) -> None:
    """Whose activations the levels are of, where they are not the document's own."""
    if other_activations(document, found):
        st.caption(
            f"Other activations than the report's ({plain(document.about)}): levels are shown and not judged, "
            f"directions and shapes are. These: {plain(found.about)}."
        )


def listing(claims: pd.DataFrame, reproduce: Reproduce) -> None:
    """The claims as a table; a click on a line opens it beside."""

    def opened() -> None:
        cells = st.session_state["claims_table"]["selection"]["cells"]
        if cells:
            address.choose(claim=str(claims["id"].iloc[cells[0][0]]))

    shown = claims[["section", "words", "says", "value", "verdict", "evidence"]].assign(
        interval=[_interval(line) for line in claims.to_dict("records")],
        **{name: claims[name] for name in ("reason", "formula", "ours", "rule", "id")},
    )
    table_panel(
        shown, key="claims_table", title=f"{count(len(claims))} claims", meaning="A click on a line opens it beside.",
        filename="claims", reproduce=reproduce, on_select=opened, height=400,
        formula="\n\n".join(f"**{name}**: {text}." for name, text in VERDICTS.items()),
        columns={
            "section": st.column_config.TextColumn("Section", width=55),
            "words": st.column_config.TextColumn("In the document's words", width=190),
            "says": st.column_config.TextColumn("It says", width=88),
            "value": st.column_config.TextColumn("Here", width=112),
            "verdict": st.column_config.MultiselectColumn(
                "Verdict", width=122, options=list(VERDICTS), color=list(COLORS.values())
            ),
            "evidence": st.column_config.TextColumn("From", width=108),
            "interval": st.column_config.TextColumn("95 % interval", width=100),
        } | {name: None for name in ("reason", "formula", "ours", "rule", "id")},
    )  # fmt: skip


def _interval(line: Mapping[str, Any]) -> str:
    """The 95 % interval of a number, in the unit in which it is shown."""
    if pd.isna(line["low"]) or pd.isna(line["high"]):
        return ""
    per_cent = "%" in line["value"] or "pp" in line["value"]
    low, high = (100 * line[side] if per_cent else line[side] for side in ("low", "high"))
    return f"{low:.1f} to {high:.1f}" if per_cent or abs(high) >= 10 else f"{low:.3f} to {high:.3f}"


def detail(claim: Mapping[str, Any]) -> None:
    """One claim in full: the document's words, number and formula; ours; the verdict, why, and where to see it."""
    with st.container(border=True, key="claim_detail", gap="xsmall"):
        verdict = str(claim["verdict"])
        st.markdown(f":{COLORS[verdict]}-badge[{verdict}] :gray[section {plain(claim['section'])}]")
        st.markdown(f"“{plain(claim['words'])}”")
        here = [f"**{plain(claim['value'])}**"]
        if interval := _interval(claim):
            here.append(f"95 %: {interval}")
        if claim["also"]:
            here.append(plain(claim["also"]))
        says, ours = st.columns(2, gap="small")
        says.markdown(f":gray[It says]  \n**{plain(claim['says'])}**")
        ours.markdown(":gray[Here]  \n" + "; ".join(here))
        lines = [
            ("Why", plain(claim["reason"])),
            ("Its formula", plain(claim["formula"])),
            ("Ours", plain(claim["ours"])),
            ("Rule", plain(claim["rule"])),
            ("From", plain(claim["evidence"])),
        ]
        for name, text in lines:
            if text:
                st.markdown(f":gray[{name}]  \n{text}")
        if claim["page"] is not None and (empty.PAGES / f"{claim['page']}.py").exists():
            st.page_link(f"pages/{claim['page']}.py", label="See the evidence", query_params=claim["query"])


def _grid_python(document: Document, found: Measured | None) -> str:
    """The Python that makes `grid` and `rows` of the figures again."""
    lines = [
        "from sae.analysis.claims import load_all",
        f'document = next(document for document in load_all() if document.id == "{document.id}")',
    ]
    if found is None:
        return "\n".join([*lines, f'grid, rows = document.tables["{GRID}"], int(document.constants["n"])', ""])
    lines += [
        "from sae.workspace import Workspace",
        "from sae.workspace.evidence import gather",
        f'found = gather(Workspace.at().experiment("{found.experiment}"), document, {found.preset!r})',
        'dead = found.cells("dead", "all").drop(columns="n")',
        'grid = found.cells("ev_flat", "validation").drop(columns="n").merge(dead, on=["k", "d_sae"], how="outer")',
        'rows = int(found.setting["n_rows"] or 0)',
    ]
    return "\n".join([*lines, ""])


def figures(document: Document, found: Measured | None, source: str, reproduce: Reproduce) -> None:
    """Three figures on the document's own table, or on the experiment: the frontier, the death formula, the shares."""
    theme = page.theme()
    if source == HERE and found is not None:
        grid = found.cells("ev_flat", "validation").drop(columns="n")
        grid = grid.merge(found.cells("dead", "all").drop(columns="n"), on=["k", "d_sae"], how="outer")
        rows, whose = int(found.setting["n_rows"] or 0), f"{len(grid)} configurations of {found.experiment}"
    else:
        grid, rows = document.tables[GRID], int(document.constants["n"])
        whose = f"{len(grid)} configurations of its table"
    if len(grid) < 2:
        st.info("The figures need two finished configurations.")
        return
    grid_python = _grid_python(document, found if source == HERE else None)

    def again(python: str) -> Reproduce:
        return replace(reproduce, python=grid_python + python)

    left, right = st.columns(2, gap="medium")
    with left, page.errors_shown("drawing the frontier"):
        beaten = dominators(grid, ["ev_flat"], ["k"])
        names = [f"K {line.k:g}, d {line.d_sae:,.0f}" for line in grid.itertuples()]
        judged = grid.assign(on_frontier=[not by for by in beaten],
                             beaten_by=["; ".join(names[i] for i in by) for by in beaten])  # fmt: skip
        kept = int(judged["on_frontier"].sum())
        figure_panel(
            frontier.frontier(judged, y="ev_flat", theme=theme, height=_HEIGHT), judged, key="claims_frontier",
            title=f"{kept} of {len(judged)} configurations are dominated by none", n=whose,
            meaning="Explained variance up, K down. Filled: on the frontier; hollow: another is as good in both and "
            "better in one.", filename=f"claims-frontier-{source}", reproduce=again(
                "from sae.analysis.pareto import non_dominated\n\n"
                'grid.assign(on_frontier=non_dominated(grid, ["ev_flat"], ["k"]))'),
            formula="The report's test lets B dominate A only if B is better in both at once: configurations of equal "
            "K then never dominate each other, and all twelve pass.",
        )  # fmt: skip
    with right, page.errors_shown("drawing the death formula"):
        fit = death_formula(grid, rows)
        figure_panel(
            shares.death_formula(fit.table, threshold=fit.threshold, n_rows=rows, error=fit.root_mean_square_error,
                                 theme=theme, height=_HEIGHT),
            fit.table, key="claims_death", title="Death formula against measured death", n=whose,
            meaning="On the line the formula would be right.", filename=f"claims-death-{source}", reproduce=again(
                "from sae.analysis.death_formula import death_formula\n\ndeath_formula(grid, rows).table"),
            formula="$$\\max(0, 1 - \\frac{K n}{d \\cdot threshold})$$ with the one threshold that fits best. To be "
            "exact in a cell the threshold must be the mean number of uses of a living feature there, which is what "
            "death says in other words.",
        )  # fmt: skip
    with st.columns(2, gap="medium")[0], page.errors_shown("drawing the shares"):
        parts = variance_share(grid, "ev_flat")
        if source == HERE and found is not None and (lines := found.lines("validation"))["seed"].nunique() > 1:
            parts = parts.merge(variance_share_range(lines, "ev_flat").drop(columns=["mean", "n"]), on="component")
        figure_panel(
            shares.variance_share(parts, response="ev_flat", n_runs=len(grid), theme=theme), parts,
            key="claims_shares", title="What explained variance varies with", n=whose,
            meaning="Share of its variance over the grid, by factor.",
            filename=f"claims-variance-share-{source}", reproduce=again(
                'from sae.analysis.variance_share import variance_share\n\nvariance_share(grid, "ev_flat")'),
            formula="Sums of squares of an analysis of variance with K and dictionary size as categories. A factor "
            "that spans a wider range has the chance of a larger share.",
        )  # fmt: skip
