"""The Grid page's view of scaling: the law over K and size, judged on the largest, and the gap to held-out rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.ui import page
from sae.ui.panel import figure_panel
from sae.ui.reproduce import Reproduce, experiment_command
from sae.ui.words import count, plain

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

_HELD_OUT = "validation"


def show(
    workspace: Workspace, experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]
) -> None:
    """Draw the view. What is fitted is always held-out rows, whatever split is chosen elsewhere."""
    from sae.analysis.scaling import fit
    from sae.figures.scaling import scaling_law, split_gap

    done = _cells(experiment, chosen)
    if done is None:
        st.info("A law needs runs that differ in dictionary size and K, with held-out rows.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        try:
            law = fit(done)
        except UserError as error:
            st.markdown("**Unexplained variance by K and size**")
            st.caption(plain(f"No law yet: {error}"))
        else:
            a, b_k, b_d, g = law.coefficients
            off, next_off = (f"{100 * math.expm1(value):.1f} %" for value in (law.error, law.error_of_next))
            verdict = "better" if law.error < law.error_of_next else "no better"
            figure_panel(
                scaling_law(law.table, law.predict, theme=page.theme()), law.table, key="scaling_law",
                meaning=f"Fitted without d_sae {count(law.held_out)}, where it is off by {off}: {verdict} than the "
                f"size below at the same K ({next_off}).",
                formula=r"$$\log \mathrm{FVU} = a + b_K \log K + b_d \log d + g \log K \log d$$ by least squares, "
                f"a = {a:.3f}, b_K = {b_k:.3f}, b_d = {b_d:.3f}, g = {g:.4f}; R² {law.r_squared:.3f} on what it was "
                "fitted on. The table has 95 % prediction intervals. Off by: root mean square of log(measured / law).",
                n=f"{law.n:,} runs fitted, {int(law.table['held_out'].sum()):,} held out",
                filename=f"{experiment.name}-scaling", reproduce=_reproduce(
                    experiment, chosen,
                    "from sae.analysis.scaling import fit\nfrom sae.figures.scaling import scaling_law\n",
                    'held = runs.query("split == \'validation\'")\n'
                    'law = fit(held.assign(fvu=1 - held["ev_total"]))\nscaling_law(law.table, law.predict).show()'),
            )  # fmt: skip
    with right:
        gap = done.assign(gap=done["train_ev_total"] - done["ev_total"])
        rows = int(done["rows"].iloc[0])
        figure_panel(
            split_gap(gap, theme=page.theme()), gap[["d_sae", "k", "seed", "train_ev_total", "ev_total", "gap"]],
            key="scaling_gap", meaning=f"What is memorised: {count(rows)} train rows, for up to "
            f"{count(int(done['d_sae'].max()))} features.",
            formula="EV_total on train rows less EV_total on validation rows, means over seeds.",
            n=f"{len(gap):,} runs", filename=f"{experiment.name}-gap", reproduce=_reproduce(
                experiment, chosen, "from sae.figures.scaling import split_gap\n",
                'wide = runs.pivot(index=["id", "d_sae", "k"], columns="split", values="ev_total").reset_index()\n'
                'split_gap(wide.assign(gap=wide["train"] - wide["validation"])).show()'),
        )  # fmt: skip


def _cells(experiment: ExperimentFolder, chosen: Mapping[str, Any]) -> pd.DataFrame | None:
    """A line a finished run: d_sae, k, seed, ev_total and fvu of validation, train_ev_total, train rows."""
    import pandas as pd

    if not {"d_sae", "k"} <= set(experiment.factors):
        return None
    lines = []
    wanted = {name: value for name, value in chosen.items() if value is not None and name != "seed"}
    for run in experiment.runs():
        if not run.done or _HELD_OUT not in run.metrics or any(run.factors.get(n) != v for n, v in wanted.items()):
            continue
        held, train = run.metrics[_HELD_OUT]["ev_total"], run.metrics["train"]["ev_total"]
        lines.append(
            {
                "d_sae": run.factors["d_sae"],
                "k": run.factors["k"],
                "seed": run.factors.get("seed", 0),
                "ev_total": held,
                "fvu": 1 - held,
                "train_ev_total": train,
                "rows": run.config["data"]["rows"]["train"],
            }
        )
    return pd.DataFrame(lines) if lines else None


def _reproduce(experiment: ExperimentFolder, chosen: Mapping[str, Any], imports: str, python: str) -> Reproduce:
    from sae.ui.grid_views import hashes

    kept = "".join(f"runs = runs[runs[{name!r}] == {value!r}]\n" for name, value in chosen.items() if value is not None)
    return Reproduce(
        f"{experiment_command(experiment.spec)}\npython -m sae experiment show {experiment.name} --json",
        f"{imports}from sae.workspace import Workspace\n\n"
        f'runs = Workspace.at().experiment("{experiment.name}").results()\n{kept}{python}',
        hashes(experiment),
    )
