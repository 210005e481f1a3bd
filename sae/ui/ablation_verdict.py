"""Views of the Ablations page that are read off metrics: the verdict, the count-matched plot, the table of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from sae.analysis import ablations
from sae.figures.ablations import difference_forest
from sae.figures.ablations import trade_off as trade_off_figure
from sae.figures.latex import latex_table
from sae.figures.style import metric_title
from sae.ui import (
    ablation_levels,
    ablation_price,
    ablation_tables,
    ablation_words,
    empty,
    equal_bits_view,
    grid_data,
    grid_views,
    heat_map,
    page,
)
from sae.ui.ablation_data import MEAN_PREDICTOR, Shown, compared, level_name, metrics_of, points
from sae.ui.ablation_recipes import recipe
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import number, plain, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sae.ui.reproduce import Reproduce

HEIGHT = 330  # px
ABSORPTION = "absorption_rate"
_EFFICIENCY = {
    "reduction": "Reduction of the rate",
    "seconds": "Further seconds",
    "ev_lost": "EV lost",
    "per_second": "Reduction per second",
    "per_ev": "Reduction per EV",
    "n": "Seeds",
}
# Metrics that say no more than the count does: at equal count they are equal.
_OF_THE_COUNT = ("average_activation_count", "sparsity_deviation", "index_bits", "compression", "l0")
_PAIRED = (
    "A seed's difference is the level less the baseline on the same seed, mean over the other factors; the interval is "
    "Student's t over seeds, 95 %. p is the paired t-test's, q Benjamini and Hochberg's over all levels and metrics of "
    "the experiment as it is shown. Where all seeds differ by exactly the same there is no spread to test against, and "
    "no q."
)


def verdict(shown: Shown, table: pd.DataFrame) -> None:
    """What the ablation says, in sentences and as a figure; N x K as a heat map where there is no baseline."""
    if not metrics_of(shown.kind, table) or shown.metric not in table:
        st.info("The verdict appears with the first finished runs.")
        return
    if not shown.baseline:
        _without_baseline(shown, table)
        return
    done = table[table["state"] == "done"]
    if shown.kind.unjudged:
        ablation_levels.outcome(shown, done)
        ablation_levels.levels(shown)
        return
    judged, apart = _judged(shown, done)
    lines = ablations.differences(judged, shown.baseline, shown.factors, compared(shown.kind, judged))
    name, ablated = level_name(shown.baseline), list(shown.baseline)
    left, right = st.columns([1, 1.05], gap="medium")
    with left:
        st.markdown(f"**{plain(ablation_words.headline(lines, shown.metric, name, shown.seeds))}**")
        if (lines["n"] > 0).any() or len(apart):
            said = ablation_words.level_lines(lines, ablated, shown.metric)
            said += ablation_words.apart_lines(apart, ablated, shown.kind.equal)
            st.markdown("\n".join(f"- {plain(one)}" for one in said))
            st.caption("q: the share of false discoveries among all that is at least as clear; 0.05 is the bar here.")
        if shown.kind.equal and (aim := ablation_words.aim_line(_of_baseline(shown, done), shown.kind.equal)):
            st.caption(plain(aim))
        _beside_mean(shown, done)
    with right:
        mine = lines[lines["metric"] == shown.metric].copy()
        mine["name"] = [level_name(dict(zip(ablated, level, strict=True))) for level in mine[ablated].to_numpy()]
        mine["beyond"] = ablation_words.beyond(mine)
        figure_panel(
            difference_forest(mine, shown.metric, baseline=name, theme=page.theme(),
                              height=max(HEIGHT, 110 + 24 * len(mine))), mine,
            key="ablation_forest", title=f"{metric_title(shown.metric)}: each level less {name}",
            meaning="Mean over seeds with the interval of the paired difference; filled: q below 0.05.",
            formula=f"{grid_data.METRICS[shown.metric][1]}\n\n{_PAIRED}", n=_n_words(shown),
            filename=f"{shown.experiment.name}-differences-{shown.metric}-{shown.split}",
            reproduce=_recipe(shown, "differences", compared(shown.kind, judged)),
        )  # fmt: skip
    if (lines["n"] > 0).any():
        if int(lines["n"].max()) > 1:
            _prices(shown, judged)
        if shown.kind.matched:
            _matched(shown, done)
        _efficiency(shown, judged)
        _listed(shown, lines, ablated)
    ablation_levels.levels(shown)


def _judged(shown: Shown, done: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs that levels are judged by, and lines of those that are not where the baseline is."""
    if not shown.kind.equal or shown.kind.equal not in done:
        return done, pd.DataFrame(columns=list(shown.baseline))
    return ablations.equal_levels(done, shown.baseline, shown.factors, shown.kind.equal)


def _recipe(shown: Shown, call: str, metrics: object, where: str = "ablations") -> Reproduce:
    """`call` on the runs that are judged."""
    about = f"{shown.baseline!r}, {shown.factors!r}"
    imports, runs = "from sae.analysis.ablations import equal_levels\n" if shown.kind.equal else "", "done"
    if shown.kind.equal:
        runs = f"equal_levels(done, {about}, {shown.kind.equal!r})[0]"
    module = {"ablations": "sae.analysis.ablations", "price": "sae.ui.ablation_price"}[where]
    return recipe(shown, f"{imports}from {module} import {call}\n", f"{call}({runs}, {about}, {metrics!r})")


def _of_baseline(shown: Shown, done: pd.DataFrame) -> pd.DataFrame:
    return grid_data.matching(done, shown.baseline)


def _prices(shown: Shown, judged: pd.DataFrame) -> None:
    metrics = compared(shown.kind, judged)
    found = ablation_price.prices(judged, shown.baseline, shown.factors, metrics)
    table_panel(
        found, key="ablation_prices", title="What each level moved, and at what price",
        meaning=f"On {shown.split} rows, paired by seed, beside {plain(level_name(shown.baseline))}.",
        formula=ablation_price.FORMULA, n=_n_words(shown), height=min(38 + 35 * len(found), 430),
        shown=ablation_price.written(found), filename=f"{shown.experiment.name}-prices-{shown.split}",
        columns={
            "Moved beyond the seeds' interval": st.column_config.TextColumn(width="large"),
            "Of these q < 0.05": st.column_config.TextColumn(width="medium"),
        },
        reproduce=_recipe(shown, "prices", metrics, "price"),
    )  # fmt: skip


def _beside_mean(shown: Shown, done: pd.DataFrame) -> None:
    if MEAN_PREDICTOR in done and shown.metric.endswith("reconstruction_loss"):
        best = done.groupby([n for n in shown.factors if n != "seed"])[shown.metric].mean()
        st.caption(
            f"Predicting the mean has a loss of {number(done[MEAN_PREDICTOR].mean())}; the cells shown have "
            f"{number(best.min())} to {number(best.max())}."
        )


def _efficiency(shown: Shown, done: pd.DataFrame) -> None:
    """What less absorption costs, where absorption was measured."""
    if ABSORPTION not in done or done[ABSORPTION].notna().sum() == 0:
        return
    lines = ablations.efficiency(done, shown.baseline, shown.factors, ABSORPTION)
    lines.insert(0, "name", [level_name(dict(zip(shown.baseline, level, strict=True)))
                             for level in lines[list(shown.baseline)].to_numpy()])  # fmt: skip
    table_panel(
        lines, key="ablation_efficiency", title="What less absorption costs",
        meaning="Reduction of the absorption rate beside the baseline, and what was paid for it.",
        formula="Reduction: the baseline's rate less the level's, paired by seed. Per second: over the further seconds "
        "of training and measuring; per EV: over the explained variance that is lost. Empty where nothing is reduced, "
        "or nothing is paid. At unequal L0 this compares different sparsities.",
        n=_n_words(shown), height=260,
        columns={"name": "Level"} | {
            name: st.column_config.NumberColumn(title, format="%.4g") for name, title in _EFFICIENCY.items()
        },
        filename=f"{shown.experiment.name}-efficiency",
        reproduce=_recipe(shown, "efficiency", ABSORPTION),
    )  # fmt: skip


def _listed(shown: Shown, lines: pd.DataFrame, ablated: Sequence[str]) -> None:
    table_panel(
        lines, key="ablation_differences", title="Every metric, each level against the baseline",
        meaning=f"On {shown.split} rows, paired by seed.", formula=_PAIRED, n=_n_words(shown), height=320,
        shown=ablation_tables.written_differences(lines, ablated),
        latex=lambda: latex_table(
            ablation_tables.written_differences(lines, ablated),
            f"{shown.kind.title}: differences from {level_name(shown.baseline)}, {_n_words(shown)}.",
        ),
        filename=f"{shown.experiment.name}-differences-{shown.split}",
        reproduce=_recipe(shown, "differences", list(dict.fromkeys(lines["metric"]))),
    )  # fmt: skip


def _matched(shown: Shown, done: pd.DataFrame) -> None:
    """The comparison at equal count: equal K is not fair where the number of bits is free."""
    matched, ablated = shown.kind.matched, list(shown.baseline)
    if matched not in done:
        return
    metrics = [name for name in compared(shown.kind, done) if name not in _OF_THE_COUNT]
    lines = ablations.matched_differences(done, shown.baseline, shown.factors, metrics, matched)
    said = ablation_words.matched_lines(
        lines, ablated, shown.metric if shown.metric in metrics else metrics[0], matched
    )
    st.markdown(f"**At equal {plain(ablation_words.short(matched))}, beside {plain(level_name(shown.baseline))}**")
    st.markdown("\n".join(f"- {plain(one)}" for one in said))
    call = f"matched_differences(done, {shown.baseline!r}, {shown.factors!r}, {metrics!r}, {matched!r})"
    table_panel(
        lines, key="ablation_matched", title=f"Every metric at equal {ablation_words.short(matched)}",
        meaning="Each level's curve over K or alpha, read off where the baseline is; never beyond its points.",
        formula="On each seed a level's points (count, metric) are joined by a monotone cubic in the logarithm of the "
        "count and evaluated at the baseline's count on the same seed; then as for the differences. A count outside of "
        "the level's own points is said and not extrapolated.",
        n=_n_words(shown), shown=ablation_tables.written_differences(lines, ablated, matched), height=260,
        filename=f"{shown.experiment.name}-matched-{shown.split}",
        reproduce=recipe(shown, "from sae.analysis.ablations import matched_differences\n", call),
    )  # fmt: skip


def _without_baseline(shown: Shown, table: pd.DataFrame) -> None:
    if shown.kind.baseline:
        st.info(
            f"The baseline, {plain(level_name(shown.kind.baseline))}, is not among what this experiment varies: "
            "there is no verdict. The other views show its cells."
        )
        return
    by = [name for name in shown.factors if name != "seed"]
    done = table[table["state"] == "done"]
    found = done.groupby(by, sort=False)[shown.metric].mean()
    if len(found):
        ends = []
        for place in (found.idxmin(), found.idxmax()):
            values = dict(zip(by, place if isinstance(place, tuple) else (place,), strict=True))
            value = number(float(found[place]))
            ends.append(f"{value} ({level_name({n: values[n] for n in shown.varied or by})})")
        title = ablation_words.short(shown.metric)
        st.markdown(
            f"**{plain(f'From {ends[0]} to {ends[1]}: {title}, mean over seeds. There is no baseline cell.')}**"
        )
        if shown.seeds < 2:
            st.caption("One seed decides nothing: no cell has an interval. Train more with --seeds 3 or above.")
        _beside_mean(shown, done)
    grid_views.chooser(table, shown.experiment)
    reads = grid_views.hashes(shown.experiment)
    grid_views.one(shown.experiment, table, shown.metric, shown.split, {}, grid_views.BIG, reads)


def trade_off(shown: Shown, table: pd.DataFrame) -> None:
    """One metric over the number of bits, a line a level: what is bought at equal cost."""
    x = shown.cost
    if x not in table or shown.metric not in table:
        st.info("The plot appears with the first finished run.")
        return
    done = table[table["state"] == "done"]
    found = points(done, shown.factors, x, shown.metric)
    mean = float(done[MEAN_PREDICTOR].mean()) if MEAN_PREDICTOR in done else None
    grid_views.chooser(table, shown.experiment)
    figure_panel(
        trade_off_figure(
            found, x=x, y=shown.metric, theme=page.theme(), height=430,
            mean_predictor=mean if shown.metric.endswith("reconstruction_loss") else None,
        ),
        found, key="ablation_trade", title=f"{metric_title(shown.metric)} over {metric_title(x).lower()}",
        meaning="A line a level, along K and alpha; bars from the least to the most seed. A click opens the run.",
        formula=f"{grid_data.METRICS[shown.metric][1]}\n\n{grid_data.METRICS[x][1]}", n=_n_words(shown),
        filename=f"{shown.experiment.name}-{shown.metric}-over-{x}-{shown.split}",
        reproduce=recipe(
            shown, "from sae.figures.ablations import trade_off\nfrom sae.ui.ablation_data import points\n",
            f'trade_off(points(done, {shown.factors!r}, "{x}", "{shown.metric}"), x="{x}", y="{shown.metric}").show()',
        ),
        on_select=heat_map.when_clicked("ablation_trade", grid_views.open_cell),
    )  # fmt: skip
    equal_bits_view.show(shown.workspace, shown.experiment)


def table(shown: Shown, table: pd.DataFrame) -> None:
    """Every metric of every cell; a click opens its run."""
    metrics = metrics_of(shown.kind, table)
    done = table[table["state"] == "done"]
    if not metrics or done.empty:
        st.info("The table appears with the first finished run.")
        return
    found = ablation_tables.wide(ablations.cells(done, shown.factors, metrics), shown.factors, metrics)
    words = ablation_tables.written(found, shown.factors, metrics)
    by = [name for name in shown.factors if name != "seed"]

    def opened() -> None:
        clicked = st.session_state["ablation_cells"]["selection"]["cells"]
        if clicked:
            line = found.iloc[clicked[0][0]]
            runs = grid_data.matching(done, {name: line[name] for name in by})["run"]
            grid_views.open_cell(list(runs))

    grid_views.chooser(table, shown.experiment)
    table_panel(
        found, key="ablation_cells", title=f"{len(found)} {plural(len(found), 'cell')}",
        meaning="Mean over seeds ± half of the 95 % interval (Student's t); a click on a line opens its run.",
        formula="\n\n".join(f"**{metric_title(m)}**: {grid_data.METRICS[m][0]}" for m in metrics),
        n=_n_words(shown), shown=words, height=min(38 + 35 * len(found), 430), on_select=opened,
        latex=lambda: latex_table(
            words, f"{shown.kind.title}: mean over seeds and half of the 95 % interval, {_n_words(shown)}."
        ),
        filename=f"{shown.experiment.name}-cells-{shown.split}",
        reproduce=recipe(shown, "from sae.analysis.ablations import cells\n",
                         f"cells(done, {shown.factors!r}, {metrics!r})"),
    )  # fmt: skip
    with st.container(horizontal=True):
        empty.link("run", "Runs one by one", experiment=shown.experiment.name)


def _n_words(shown: Shown) -> str:
    rows = grid_views.n_words(shown.experiment, shown.split) or "no rows yet"
    return f"{rows}, {shown.seeds} {plural(shown.seeds, 'seed')}"
