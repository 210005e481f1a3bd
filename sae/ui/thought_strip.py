"""One feature over layers and steps of thinking: its encoder on every slice, its own slice marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from sae.figures.style import number_text
from sae.figures.thoughts import layer_step_map
from sae.ui import empty, loaded, page, pickers, thought_data, thoughts_view
from sae.ui.panel import figure_panel
from sae.ui.reproduce import Reproduce, hashes
from sae.ui.thought_words import position_text
from sae.ui.thoughts_view import Shown, place_text, step_names
from sae.ui.words import count, number, plain, share
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from sae.analysis.over_slices import OverSlices
    from sae.workspace.runs import RunFolder

WORST = -10.0  # explained variance below which a cell says only that
_KEPT = "_thought_strips"
READINGS = {
    "active": ("Share of examples where it fires", "share"),
    "mean_activation": ("Mean activation where it fires", "number"),
    "correlation": ("Correlation with its own slice", "number"),
}
_MEANING = {
    "active": "How often the feature fires, slice by slice, read with its own encoder.",
    "mean_activation": "How strongly it fires there, over the examples where it does.",
    "correlation": "Whether it fires on the same examples, as strongly, as on its own slice.",
}


def show(shown: Shown) -> None:
    """Choose a run and a feature, and see it on every slice."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="strip_controls"):
        run = _pick_run(shown)
        if run is None:
            st.caption("No finished run of this configuration is here yet.")
            return
        feature = _pick_feature(run)
        with st.container(width=330):
            reading = pickers.pick_choice(
                "Shown", list(READINGS), name="reading", default="active", format=lambda name: READINGS[name][0]
            ) or "active"  # fmt: skip
    found = _over_slices(shown, run)
    table = found.feature(feature)
    home = (int(run.config["data"]["layer"]), int(run.config["data"]["position"]))
    _facts(shown, run, feature, home)
    odd = _constant(shown)
    left, right = st.columns([1.5, 1], gap="medium")
    with left:
        _strip(shown, run, feature, table, reading, home, odd, found.n)
    with right:
        _fit(shown, run, feature, table, home, odd, found.n)
    st.caption(
        f"The run was trained on {plain(place_text(shown, *home))}, which is outlined. On every other slice its "
        "encoder reads rows that it was not trained on: where its reconstruction explains little, what fires says "
        "little."
    )


def _pick_run(shown: Shown) -> RunFolder | None:
    """The run of one slice, by layer and step."""
    done = shown.runs[shown.runs["state"] == "done"]
    for name, value in shown.choices.items():
        if name in done and value is not None:
            done = done[done[name] == value]
    if done.empty:
        return None
    layers = sorted(set(done["layer"].tolist()))
    layer = thoughts_view.pick_layer(shown, layers) if len(layers) > 1 else layers[0]
    here = done[done["layer"] == layer]
    steps = sorted(set(here["position"].tolist()))
    step = steps[len(steps) // 2]
    if len(steps) > 1:
        with st.container(width=150):
            step = int(pickers.pick_choice(
                "Step", steps, name="position", start=step, format=lambda s: _step(shown, s)
            ) or 0)  # fmt: skip
    return shown.workspace.run(str(here[here["position"] == step]["run"].iloc[0]))


def _step(shown: Shown, step: int) -> str:
    from sae.capture.conventions import step_name

    return f"{step_name(step)}, position {position_text(step, shown.convention)}" if shown.at_home else str(step)


def _pick_feature(run: RunFolder) -> int:
    """A feature by number; at first the one that comes nearest to firing on every tenth row."""
    table = loaded.features(run)
    living = table[~table["dead"].astype(bool)]
    first = 0 if living.empty else int(living.loc[(living["density"] - 0.1).abs().idxmin(), "feature"])
    with st.container(width=140):
        return int(pickers.pick_number("Feature", name="feature", default=first, low=0, high=len(table) - 1))


def _facts(shown: Shown, run: RunFolder, feature: int, home: tuple[int, int]) -> None:
    line = loaded.features(run).iloc[feature]
    note = Notes(run.folder).all().get(feature)
    label = f" ({plain(note.label)})" if note and note.label else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        if line["dead"]:
            said = "never fires on its own slice"
        else:
            often = share(line["density"])
            said = f"fires on {often} of the rows of its own slice, at most {line['max_activation']:.3g}"
        st.markdown(f"**Feature {feature:,}**{label}: {said}.", width="stretch")
        empty.link("features", "Its card", experiment=run.config.get("experiment"), run=run.id, feature=feature)


def _constant(shown: Shown) -> set[tuple[int, int]]:
    return thought_data.constant_places(shown.runs)


def _strip(
    shown: Shown,
    run: RunFolder,
    feature: int,
    table: pd.DataFrame,
    reading: str,
    home: tuple[int, int],
    odd: set[tuple[int, int]],
    n: int,
) -> None:
    title, kind = READINGS[reading]
    notes = {
        (int(line["layer"]), int(line["position"])): f"fires on {count(line['n_active'])} of {count(n)} examples<br>"
        f"mean {number_text(line['mean_activation'])}, r {number(line['correlation'], 2)} with its own slice<br>"
        f"the SAE explains {number(line['ev'])} of the variance there"
        for line in table.to_dict("records")
    }
    figure = layer_step_map(
        table, reading, layers=shown.layers, steps=step_names(shown), constant=odd, home=home, notes=notes, kind=kind,
        x_title=_x_title(shown), theme=page.theme(), height=_height(shown),
    )  # fmt: skip
    figure_panel(
        figure, table, key="thought_strip", title=title, meaning=_MEANING[reading],
        n=f"{count(n)} examples, the same on every slice",
        formula="**Fires**: the share of examples whose activation is not 0. **Mean**: of |activation| over those. "
        "**Correlation**: Pearson's r over the examples, zeros included, with the feature's activation on the slice "
        "that the SAE was trained on.",
        filename=f"{run.id}-feature-{feature}-slices", reproduce=_reproduce(run, feature),
    )  # fmt: skip


def _fit(
    shown: Shown,
    run: RunFolder,
    feature: int,
    table: pd.DataFrame,
    home: tuple[int, int],
    odd: set[tuple[int, int]],
    n: int,
) -> None:
    """How far the SAE explains each slice: what the strip's numbers are worth there."""
    drawn = table.assign(ev_total=table["ev"].clip(lower=WORST))  # how far below makes no difference, and has no room
    notes = {
        (int(line["layer"]), int(line["position"])): f"exactly {line['ev']:.4g}"
        for line in table[table["ev"] < WORST].to_dict("records")
    }
    figure = layer_step_map(
        drawn, "ev_total", layers=shown.layers, steps=step_names(shown), constant=odd, home=home, notes=notes,
        x_title=_x_title(shown), color_range=(-1.0, 1.0), theme=page.theme(), height=_height(shown),
    )  # fmt: skip
    figure.update_annotations(font_size=10)
    for written in figure.layout.annotations:
        written.text = written.text.replace(number(WORST), f"below {WORST:g}")
    figure_panel(
        figure, table[["layer", "position", "n", "ev"]], key="thought_fit",
        title="How far the SAE explains each slice",
        meaning="At 0 or below it does no better than the slice's mean. All below -1 has the colour of -1.",
        n=f"{count(n)} examples",
        formula=r"$$1 - \frac{\sum_i \lVert x_i - \hat x_i\rVert^2}{\sum_i \lVert x_i - \bar x\rVert^2}$$ over the "
        "examples shown, around the slice's own mean.",
        filename=f"{run.id}-over-slices", reproduce=_reproduce(run, feature),
    )  # fmt: skip


def _x_title(shown: Shown) -> str:
    return f"Step of thinking, and its position ({shown.convention})" if shown.at_home else "Position"


def _height(shown: Shown) -> int:
    return min(max(110 + 26 * len(shown.layers), 280), 470)


def _over_slices(shown: Shown, run: RunFolder) -> OverSlices:
    """Worked out when it is first asked for, and kept for the session: every feature of a run at once."""
    kept: dict[tuple[str, int], OverSlices] = st.session_state.setdefault(_KEPT, {})
    key = (run.id, (run.folder / "weights.safetensors").stat().st_mtime_ns)
    if key not in kept:
        from sae.workspace.over_slices import over_slices_of

        place = st.empty()
        bar = place.progress(0.0, text="Reading slices")

        def progress(done: int, total: int) -> None:
            bar.progress(done / total, text=f"Reading slice {done} of {total}")

        found = over_slices_of(run, shown.activations, progress)
        place.empty()
        while len(kept) >= 8:
            kept.pop(next(iter(kept)))
        kept[key] = found
    return kept[key]


def _reproduce(run: RunFolder, feature: int) -> Reproduce:
    python = (
        f'import sae\nfrom sae.workspace.over_slices import over_slices_of\n\nrun = sae.open("{run.id}")\n'
        f"over_slices_of(run.folder, run.slice.activations).feature({feature})"
    )
    return Reproduce(f"python -m sae run show {run.id}", python, hashes(run))
