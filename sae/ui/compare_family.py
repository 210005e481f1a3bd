"""How the features of a small dictionary fan out in larger ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from sae.ui import address, compare_runs, empty, heat_map, matched, page, pickers, reproduce
from sae.ui.compare_differences import reads
from sae.ui.panel import figure_panel, table_panel
from sae.ui.strongest import strongest_texts
from sae.ui.words import plain
from sae.workspace.comparing import family, why_not
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from sae.analysis.matching import Matching
    from sae.workspace.runs import RunFolder

HEIGHT = 430
_LONGEST = 32  # characters of a label in the tree


def controls() -> float:
    """The threshold, in the address."""
    with st.container(width=125):
        return pickers.pick_number(
            "Threshold", name="threshold", default=0.7, low=0.05, high=1.0, step=0.05,
            help="From which decoder cosine with its nearest smaller feature on a feature counts as its child.",
        )  # fmt: skip


def show(runs: Sequence[RunFolder], threshold: float) -> None:
    """The smallest run's features by their number of descendants, and the tree of one of them."""
    sized = sorted(runs, key=lambda run: int(run.config["model"]["d_sae"]))
    sizes = [int(run.config["model"]["d_sae"]) for run in sized]
    if len(set(sizes)) < len(sizes) or len(sizes) < 2:
        _offer(runs)
        return
    for small, large in zip(sized, sized[1:], strict=False):
        reason = why_not(page.workspace(), small, large)["cosine"]
        if reason is not None:
            st.info(plain(f"A family is read off decoder cosines, which these runs don't have: {reason}."))
            return
    steps = [matched.matching(small, large, "cosine") for small, large in zip(sized, sized[1:], strict=False)]
    _draw(sized, sizes, steps, threshold)


def _offer(runs: Sequence[RunFolder]) -> None:
    """Why there is no tree, and the button that makes one."""
    st.info("A family tree needs runs of different dictionary sizes, one of each.")
    sizes = family(page.workspace(), runs[0])
    if len({int(run.config["model"]["d_sae"]) for run in sizes}) == len(sizes) > 1:
        sizes = sizes[: compare_runs.MOST]
        said = ", ".join(f"{int(run.config['model']['d_sae']):,}" for run in sizes)
        st.button(
            f"Compare d_sae {said}", on_click=address.choose,
            kwargs={"runs": [run.id for run in sizes], "drop": ("feature", "partner", "with")},
        )  # fmt: skip
    else:
        experiment = runs[0].config.get("experiment")
        empty.link("train", "Train other sizes", experiment=experiment)


def _draw(runs: Sequence[RunFolder], sizes: Sequence[int], steps: Sequence[Matching], threshold: float) -> None:
    from sae.analysis.matching_fates import family_sizes

    counts = family_sizes(steps, threshold)
    generations = [name for name in counts if name != "feature"]
    counts = counts.sort_values([generations[-1], *generations[:-1], "feature"], ascending=[*[False] * len(generations),
                                                                                            True])  # fmt: skip
    counts = counts.reset_index(drop=True)
    if counts.empty:
        st.info("The smallest SAE has no living feature.")
        return
    feature = _chosen(counts)
    left, right = st.columns([1, 2.3], gap="medium")
    with left:
        _list(runs, sizes, counts, generations, threshold)
    with right:
        _tree(runs, sizes, steps, feature, threshold)


def _chosen(counts: pd.DataFrame) -> int:
    asked = address.get("feature")
    if asked is not None and asked.isdecimal() and (counts["feature"] == int(asked)).any():
        return int(asked)
    if asked is not None:
        page.note(f"The smallest SAE has no living feature {asked}; this is the one with most descendants.")
    return int(counts["feature"].iloc[0])


def _list(
    runs: Sequence[RunFolder], sizes: Sequence[int], counts: pd.DataFrame, generations: Sequence[str], threshold: float
) -> None:
    def opened() -> None:
        cells = st.session_state["compare_families"]["selection"]["cells"]
        if cells and cells[0][0] < len(counts):
            address.choose(feature=int(counts["feature"].iloc[cells[0][0]]), drop=("partner",))

    texts = strongest_texts(runs[0])
    shown = counts.assign(text=[texts[j] for j in counts["feature"]])
    column = st.column_config.NumberColumn
    table_panel(
        counts, shown=shown, key="compare_families", title=f"Features of d_sae {sizes[0]:,}", height=HEIGHT,
        meaning="By how many descendants they have in the largest; a click draws the tree.",
        n=f"{len(counts):,} living features", filename=f"{runs[0].id}-families", on_select=opened,
        columns={"feature": column("Feature", format="%d", width=62)}
        | {
            name: column(f"In {size:,}", format="%d", width=66)
            for name, size in zip(generations, sizes[1:], strict=True)
        }
        | {"text": st.column_config.TextColumn("Strongest example", width=260)},
        reproduce=_recipe(runs, threshold, "family_sizes(steps, {threshold:g})"),
    )  # fmt: skip


def _tree(
    runs: Sequence[RunFolder], sizes: Sequence[int], steps: Sequence[Matching], feature: int, threshold: float
) -> None:
    from sae.analysis.matching_fates import family_tree
    from sae.figures.matching import family as family_figure

    table = family_tree(steps, feature, threshold)
    labels = _labels(runs, table)
    figure = family_figure(table, [f"d_sae {size:,}" for size in sizes], labels=labels, theme=page.theme())
    named = table.assign(
        d_sae=[sizes[generation] for generation in table["generation"]],
        label=[labels.get((int(g), int(f)), "") for g, f in zip(table["generation"], table["feature"], strict=True)],
    )

    def opened() -> None:
        found = heat_map.clicked("compare_tree")
        if isinstance(found, list) and len(found) == 3:
            st.session_state["compare_open"] = (int(found[0]), int(found[1]))

    figure_panel(
        figure, named, key="compare_tree", title=f"Descendants of feature {feature:,}",
        meaning="A child's nearest smaller feature is its parent; beside each its cosine with it and its label or "
        "strongest example. A click opens the card.",
        formula=r"j of a larger SAE is a child of $$\arg\max_i \cos(d_i, d_j)$$ over the living features i of the next "
        "smaller one, where that cosine is at the threshold or above. The darker a box, the lower its cosine. Runs of "
        "one seed may start from the same directions, which makes families closer than chance would.",
        n=f"{len(table):,} features", filename=f"{runs[0].id}-family-{feature}", on_select=opened,
        reproduce=_recipe(runs, threshold, f"family_tree(steps, {feature}, {{threshold:g}})"),
    )  # fmt: skip
    chosen = st.session_state.pop("compare_open", None)
    if chosen is not None:
        run = runs[chosen[0]]
        where = {"run": run.id, "feature": str(chosen[1])}
        if run.config.get("experiment"):
            where["experiment"] = run.config["experiment"]
        st.switch_page("pages/features.py", query_params=where)


def _labels(runs: Sequence[RunFolder], table: pd.DataFrame) -> dict[tuple[int, int], str]:
    """By (generation, feature) its label, else the beginning of its strongest example."""
    found: dict[tuple[int, int], str] = {}
    for generation, run in enumerate(runs):
        notes = Notes(run.folder).all()
        texts = strongest_texts(run)
        for feature in table.loc[table["generation"] == generation, "feature"]:
            note = notes.get(int(feature))
            said = note.label if note and note.label else texts[feature]
            said = said if len(said) <= _LONGEST else said[:_LONGEST].rsplit(" ", 1)[0] + " …"
            found[generation, int(feature)] = said.replace("<", "&lt;")
    return found


def _recipe(runs: Sequence[RunFolder], threshold: float, last: str) -> reproduce.Reproduce:
    ids = [run.id for run in runs]
    return reproduce.Reproduce(
        "\n".join(
            f"python -m sae run compare {one} {other} --threshold {threshold:g} --json"
            for one, other in zip(ids, ids[1:], strict=False)
        ),
        "import sae\nfrom sae.analysis.matching_fates import family_sizes, family_tree\n\n"
        f"runs = [sae.open(name) for name in {ids}]\n"
        "steps = [one.match(other) for one, other in zip(runs, runs[1:])]\n" + last.format(threshold=threshold),
        reads(runs),
    )
