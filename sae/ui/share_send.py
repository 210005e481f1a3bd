"""What to send: an experiment, a run or features, as a report that opens anywhere or a bundle for another workspace."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from sae.ui import address, empty, page, pickers
from sae.ui.run_picker import ELSEWHERE
from sae.ui.words import bytes_text, count, plain, plural

if TYPE_CHECKING:
    from sae.workspace import Workspace

WHOLE = "all of it"
FEATURES = {"": "its panels and 200 features", "all": "every feature", "some": "features by number"}
#: What is packed in memory for a download; beyond it the command line writes the file.
LARGEST = 2 * 2**30


def show(workspace: Workspace, kind: str) -> None:
    """Choose what, see what comes along, take the file. `kind`: `report` or `bundle`."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="share_controls"):
        name, is_run = _pick(workspace)
        if name is None:
            empty.no_experiments()
            return
        features = _pick_features(workspace, name) if kind == "report" and is_run else ""
        values = False
        if kind == "bundle":
            values = pickers.pick_switch(
                "With hidden states", name="values",
                help="The activations' arrays. Without them examples, labels and figures show all the same.",
            )  # fmt: skip
    if kind == "report":
        _report(workspace, name, features)
    else:
        _bundle(workspace, name, values)


def _pick(workspace: Workspace) -> tuple[str | None, bool]:
    """An experiment or a finished run, and whether it is a run; (None, False) where there is neither."""
    experiments = sorted(workspace.experiments(), key=lambda one: one.source is not None)  # what trains goes first
    alone = pickers.run_titles(workspace, None)
    options = [one.name for one in experiments] + ([ELSEWHERE] if alone else [])
    asked = address.get("run")
    if asked and address.get("experiment") is None and options:
        with page.errors_shown("finding the run"):
            owner = workspace.run(asked).config.get("experiment") or ELSEWHERE
            if owner in options:
                address.choose(experiment=owner)
    with st.container(width=240):
        chosen = pickers.pick_choice(
            "Experiment", options, name="experiment", carry=True, resets=("run", "features", "numbers"),
            format=lambda name: "SAEs from elsewhere" if name == ELSEWHERE else name,
        )  # fmt: skip
    if chosen is None:
        return None, False
    experiment = None if chosen == ELSEWHERE else workspace.experiment(chosen)
    if experiment is not None and experiment.source is not None:
        return chosen, False
    titles = pickers.run_titles(workspace, experiment)
    done = [run for run in titles if (workspace.run_folder(run) / "metrics.json").exists()]
    whole = [] if experiment is None else [WHOLE]
    with st.container(width=260):
        run = pickers.pick_choice(
            "Run", [*whole, *done], name="run", default=WHOLE if whole else None,
            format=lambda run: titles.get(run, run), resets=("features", "numbers"),
        )  # fmt: skip
    return (chosen, False) if run in (WHOLE, None) else (run, True)


def _pick_features(workspace: Workspace, run: str) -> str:
    """Which features, as the command line takes it; "" for the whole run."""
    from sae.workspace.notes import Notes

    lists = {f"list:{name}": f"list {name}" for name in Notes(workspace.run_folder(run)).lists()}
    offered = {**FEATURES, **lists}
    with st.container(width=240):
        chosen = pickers.pick_choice(
            "What of it", list(offered), name="features", default="", format=offered.__getitem__
        )
    if chosen != "some":
        return chosen or ""
    with st.container(width=200):
        return pickers.pick_text("Features", name="numbers", placeholder="3, 17, 44").replace(" ", "") or "first:10"


def _report(workspace: Workspace, name: str, features: str) -> None:
    def make() -> str:
        from sae.report.make import make_report
        from sae.report.render import to_html

        return to_html(make_report(workspace, name, features=features or None))

    _offer(
        "Report", "One HTML file that opens in any browser without a network: searchable, light and dark, figures that "
        "answer the pointer and give SVG, PNG, CSV and JSON, every panel with what makes it again.",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Make and download", make, file_name=f"{name}.html", mime="text/html", type="primary", on_click="ignore",
            icon=":material/download:", key="share_report",
        )  # fmt: skip
        st.caption("4.8 MB for the figures' library, then 5 to 12 kB a feature.", width="content")
    more = f" --features {shlex.quote(features)}" if features else ""
    _command(f"python -m sae share {shlex.quote(name)}{more} --out {name}.html")


def _bundle(workspace: Workspace, name: str, values: bool) -> None:
    from sae.workspace.bundles import bundle_size, check_view, make_bundle

    opens = address.get("opens")
    if opens is not None:
        check_view(opens)
    found = bundle_size(workspace, [name], values)

    def make() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bundle.zip"
            make_bundle(workspace, name, path, view=opens, values=values)
            return path.read_bytes()

    _offer(
        "Bundle", "A zip for a colleague's workspace: runs with their weights and feature activations, the examples, "
        "labels, notes, lists and findings. Opening it checks every byte and loses neither side's words.",
    )  # fmt: skip
    parts = [f"{count(found[kind])} {plural(found[kind], kind[:-1])}" for kind in ("runs", "experiments", "findings")]
    st.markdown(f"{', '.join(parts)}: **{bytes_text(found['bytes'])}**.")
    if opens is not None:
        st.caption(f"It opens on {plain(opens)}.")
    for need in found["needs"]:
        size = f", {bytes_text(need['bytes'])}" if need["bytes"] else ""
        st.caption(f"The hidden states of {plain(need['activations'])} stay here{size}.")
    if found["bytes"] > LARGEST:
        st.info(f"More than {bytes_text(LARGEST)}: make it with the command below.")
    else:
        st.download_button(
            "Make and download", make, file_name=f"{name}.zip", mime="application/zip", type="primary",
            on_click="ignore", icon=":material/download:", key="share_bundle",
        )  # fmt: skip
    more = " --values" if values else ""
    more += f" --view {shlex.quote(opens)}" if opens else ""
    _command(f"python -m sae share {shlex.quote(name)}{more} --out {name}.zip")


def _offer(title: str, said: str) -> None:
    st.markdown(f"**{title}**")
    st.caption(said)


def _command(words: str) -> None:
    st.caption("The same from the command line:")
    with st.container(width=760):
        st.code(words, language=None, wrap_lines=True)
