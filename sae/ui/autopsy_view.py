"""The Run page's view of dead features: when they died, how near they came to firing, and what cures them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from sae.common.errors import UserError
from sae.figures.style import metric_title
from sae.ui import data_view, empty, loaded, page, reproduce, role
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import count, number, plain, share

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.autopsies import Autopsy
    from sae.workspace.runs import RunFolder

HEIGHT = 260
_SHOWN = 500  # lines of the table on the page; the files have all
_BESIDE = ("ev_total", "dead", "l0", "mse")


def show(workspace: Workspace, run: RunFolder) -> None:
    """Draw the view."""
    with page.errors_shown("looking at the dead features"):
        found = _autopsy(str(run.folder), (run.folder / "metrics.json").stat().st_mtime_ns)
        _tiles(run, found)
        if found.fates:
            left, right = st.columns(2, gap="medium")
            with left:
                _when(run, found)
            with right:
                _how_near(run, found)
            _each(run, found)
    with page.errors_shown("preparing the cure"):
        _cure(workspace, run)


@st.cache_resource(max_entries=16, show_spinner="Reading how near dead features came")
def _autopsy(folder: str, modified: int) -> Autopsy:
    from sae.workspace.autopsies import autopsy_of
    from sae.workspace.runs import RunFolder

    return autopsy_of(page.workspace(), RunFolder(Path(folder)))


def _tiles(run: RunFolder, found: Autopsy) -> None:
    features = loaded.features(run)
    d_sae = len(features)
    known = run.config.get("training") is not None
    tiles = {
        "born dead": ("Born dead", "Never among a row's active features, from the first step of training on."),
        "died": ("Died in training", "Active at some step, and on no row now."),
        "dead": ("Dead", "Active on no row. How this SAE was trained is not known."),
        "nearly dead": ("Nearly dead", "Active on one to three rows of all: the next steps of training may take them."),
    }
    shown = ("born dead", "died", "nearly dead") if known else ("dead", "nearly dead")
    with st.container(horizontal=True, gap="medium", key="headline"):
        for fate in shown:
            title, meaning = tiles[fate]
            n = found.fates.get(fate, 0)
            st.metric(
                title, count(n), width="content", delta=f"{share(n / d_sae)} of {count(d_sae)}", delta_color="off",
                delta_arrow="off", help=meaning,
            )  # fmt: skip
        only_train = int((features["dead_train"] & ~features["dead"]).sum())
        st.metric(
            "Silent on train rows alone", count(only_train), width="content", delta_color="off", delta_arrow="off",
            delta="active on held-out rows", help="Features that no train row activates and some other row does.",
        )  # fmt: skip
        try:
            input_ = data_view.statistics(loaded.slice_of(run))
        except UserError:
            return
        st.metric(
            "Outlier ratio of the input", number(input_["outlier_ratio"], 1), width="content", delta_color="off",
            delta=f"mean {number(input_['mean_to_centred'], 1)} times the spread", delta_arrow="off",
            help="γ: largest over median standard deviation of the dimensions. Below it: the norm of the mean row over "
            "the root mean squared distance from it. Where either is large and training does not centre, the same "
            "few features win every row from the first step on.",
        )  # fmt: skip


def _when(run: RunFolder, found: Autopsy) -> None:
    from sae.figures.columns import binned, column_histogram

    died = found.table[found.table["fate"] == "died"]
    training = run.config.get("training")
    if not len(died) or not training:
        st.markdown("**When features died**")
        st.caption("No feature that was ever active in training is dead." if training else "Not trained here.")
        return
    history = run.history()
    last = float(history["step"].max()) if len(history) else float(died["last_step"].max())
    table = binned(died["last_step"].to_numpy(float), low=0.0, high=last)
    figure_panel(
        kept(
            column_histogram, table, "step", title="When features died", x_title="Step of the last activation",
            theme=page.theme(), height=HEIGHT,
        ),
        table, key="died", meaning="Steps at which features that are dead now were last active.",
        formula="The step of training after which a feature that is active on no row now was never active again.",
        n=f"{len(died):,} features", filename=f"{run.id}-died",
        reproduce=_recipe(run, 'died = run.autopsy.table.query("fate == \'died\'")\n'
                          'column_histogram(binned(died["last_step"]), "step").show()'),
    )  # fmt: skip


def _how_near(run: RunFolder, found: Autopsy) -> None:
    from sae.figures.columns import binned, column_histogram

    silent = found.table[found.table["n_active"] == 0]
    if not len(silent):
        st.markdown("**How near the dead came to firing**")
        st.caption("No feature is dead.")
        return
    values = silent["short"].to_numpy(float)
    finite = np.isfinite(values)
    table = binned(values[finite], low=0.0)
    still = f" {count(int((~finite).sum()))} never vary at all." if not finite.all() else ""
    figure_panel(
        kept(
            column_histogram, table, "short", title="How near the dead came to firing",
            x_title="Short by (standard deviations)",
            theme=page.theme(), height=HEIGHT,
        ),
        table, key="short", meaning=f"On the row where each came nearest; at 0 it would have fired.{still}",
        formula="The least, over the rows, of what a row's weakest active feature had (0 for a ReLU) less the "
        "feature's own pre-activation, in standard deviations of that pre-activation over the rows. Near 0: a little "
        "push revives it. Far from 0: it points where no row is.",
        n=f"{len(silent):,} dead features, {found.n_rows:,} rows", filename=f"{run.id}-short",
        reproduce=_recipe(run, 'silent = run.autopsy.table.query("n_active == 0")\n'
                          'column_histogram(binned(silent["short"]), "short").show()'),
    )  # fmt: skip


def _each(run: RunFolder, found: Autopsy) -> None:
    table = found.table.sort_values(["n_active", "short"], ascending=[False, True], kind="stable").reset_index(
        drop=True
    )
    key = "autopsy_each"

    def opened() -> None:
        cells = st.session_state[key]["selection"]["cells"]
        if cells:
            line, column = table.iloc[cells[0][0]], str(cells[0][1])
            neighbour = int(line["nearest_feature"])
            st.session_state["autopsy_open"] = (
                neighbour if column == "nearest_feature" and neighbour >= 0 else int(line["feature"])
            )

    table_panel(
        table, key=key, title="Each dead or nearly dead feature", n=f"{len(table):,} features",
        meaning="A click on a line opens the feature, on its neighbour's number the neighbour."
        + (f" The first {_SHOWN:,} are shown." if len(table) > _SHOWN else ""),
        formula="Short by: as above. Above 0: share of rows on which its pre-activation is positive. Neighbour: the "
        "living feature whose decoder direction is nearest by |cosine|.",
        filename=f"{run.id}-autopsy", height=None if len(table) < 8 else 300, on_select=opened,
        shown=table.head(_SHOWN),
        columns={
            "feature": st.column_config.NumberColumn("Feature", width=70, format="%d"),
            "fate": st.column_config.TextColumn("Fate", width=95),
            "n_active": st.column_config.NumberColumn("Rows", width=60, format="%d", help="On which it is active."),
            "last_step": st.column_config.NumberColumn("Last active at step", width=125, format="%d"),
            "short": st.column_config.NumberColumn("Short by (sd)", width=95, format="%.2f"),
            "near_row": st.column_config.NumberColumn("On row", width=75, format="%d"),
            "positive": st.column_config.NumberColumn("Above 0", width=75, format="percent"),
            "nearest_feature": st.column_config.NumberColumn("Neighbour", width=85, format="%d"),
            "max_decoder_cosine": st.column_config.NumberColumn("Cosine", width=70, format="%.3f"),
        },
        reproduce=_recipe(run, "run.autopsy.table"),
    )  # fmt: skip
    feature = st.session_state.pop("autopsy_open", None)
    if feature is not None:
        choices = {"run": run.id, "feature": str(feature)}
        if run.config.get("experiment"):
            choices["experiment"] = run.config["experiment"]
        st.switch_page("pages/features.py", query_params=choices)


def _cure(workspace: Workspace, run: RunFolder) -> None:
    """Train the same run again with what keeps features alive, and what that brought."""
    from sae.workspace.cure import CURE, changes, cured, name_of

    st.markdown("**Try the cure**")
    try:
        changed = changes(run.config.get("training"))
    except UserError as error:
        st.caption(plain(error))
        return
    if not changed:
        st.caption(
            "This run has the whole cure: centred rows, a tied start and AuxK. What is dead is dead in spite of it."
        )
        return
    begun = cured(workspace, run)
    if begun is not None and begun[1] is not None and begun[1].done:
        _brought(run, begun[1])
        return
    if begun is not None:
        st.caption("The same run with the cure is under way.")
        empty.link("train", "Watch", experiment=name_of(run), show="watch")
        return
    st.caption("The same run, with the same seed, size and K, and these settings changed:")
    st.dataframe(
        [
            {"setting": name, "now": str(was), "then": f"{becomes:g}" if isinstance(becomes, float) else str(becomes),
             "meaning": CURE[name][1]}
            for name, (was, becomes) in changed.items()
        ],
        hide_index=True, alt="Settings that the cure changes", column_config={
            "setting": st.column_config.TextColumn("Setting", width=140),
            "now": st.column_config.TextColumn("Now", width=90),
            "then": st.column_config.TextColumn("Then", width=90), "meaning": "So that",
        },
    )  # fmt: skip
    if role.may_change():
        st.button("Try the cure", type="primary", on_click=_start, args=(workspace, run))


def _start(workspace: Workspace, run: RunFolder) -> None:
    from sae.workspace.cure import cure_spec
    from sae.workspace.start import start_experiment
    from sae.workspace.supervisor import ensure_running

    with page.errors_shown("starting the cure"):
        role.require_change()
        start_experiment(workspace, cure_spec(run))
        ensure_running(workspace)


def _brought(run: RunFolder, cure: RunFolder) -> None:
    splits = [split for split in ("validation", "train") if split in run.metrics and split in cure.metrics]
    lines: list[dict[str, Any]] = [
        {
            "metric": f"{metric_title(name)}, {split}",
            "before": run.metrics[split][name],
            "after": cure.metrics[split][name],
        }
        for name in _BESIDE
        for split in splits
        if name in run.metrics[split] and name in cure.metrics[split]
    ]
    import pandas as pd

    table_panel(
        pd.DataFrame(lines), key="cure", title="With the cure",
        meaning="The same run with centred rows, a tied start and AuxK.",
        n="1 run each, the same seed", filename=f"{run.id}-cure", columns={
            "metric": st.column_config.TextColumn("Metric", width=260),
            "before": st.column_config.NumberColumn("This run", width=90, format="%.4g"),
            "after": st.column_config.NumberColumn("With the cure", width=110, format="%.4g"),
        },
        reproduce=reproduce.of_run(cure, f"run show {cure.id} --json", "run.metrics"),
    )  # fmt: skip
    empty.link("run", "Open it", run=cure.id, experiment=cure.config.get("experiment"))


def _recipe(run: RunFolder, python: str) -> Any:
    imports = "from sae.figures.columns import binned, column_histogram\n\n" if "binned" in python else ""
    return reproduce.of_run(run, f"run autopsy {run.id} --limit 1000000 --json", imports + python)
