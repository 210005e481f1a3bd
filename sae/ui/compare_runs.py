"""Which runs the Compare page is about: two to four of the workspace, in the order in which they were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.figures.style import category_color
from sae.ui import address, page, pickers
from sae.ui.words import plain
from sae.workspace.comparing import family, siblings

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder

MOST = 4


def titles(workspace: Workspace) -> dict[str, str]:
    """Every finished run by id: its experiment and what it is called there."""
    found: dict[str, str] = {}
    for experiment in workspace.experiments():
        if experiment.source is None:
            named = pickers.run_titles(workspace, experiment)
            found |= {run: f"{experiment.name}: {title}" for run, title in named.items()}
    found |= {run: f"from elsewhere: {title}" for run, title in pickers.run_titles(workspace, None).items()}
    return {run: title for run, title in found.items() if (workspace.root / "runs" / run / "metrics.json").exists()}


def pick(workspace: Workspace) -> list[RunFolder]:
    """The runs of the address; without one the run that the visitor comes from, or the newest, and one like it."""
    known = titles(workspace)
    if not known:
        return []
    _settle(workspace, known)
    address.prepare_many("runs", [], list(known))
    chosen = st.multiselect(
        "Runs, the first against the others", list(known), key="runs", max_selections=MOST,
        format_func=known.__getitem__, placeholder="Choose two to four", on_change=address.changed,
        args=("runs", None, ("feature", "partner", "with")),
    )  # fmt: skip
    return [workspace.run(run) for run in chosen]


def _settle(workspace: Workspace, known: Mapping[str, str]) -> None:
    """Write into the address which runs are meant, and say which of those asked for are not here."""
    asked = address.get_all("runs")
    if not asked:
        before = address.carried("run")
        wanted = [before] if before is not None and before in known else list(known)
        pairs = ([run, *(other.id for other, _ in like_it(workspace, workspace.run(run)))] for run in wanted)
        found = next((ids for ids in pairs if len(ids) > 1), wanted)
        address.choose(runs=[run for run in found if run in known][:2])
        return
    here = list(dict.fromkeys(run for run in asked if run in known))
    missing = [run for run in asked if run and run not in known]
    if begun := [run for run in missing if _begun(workspace, run)]:
        page.note(f"The address asks for {', '.join(begun)}, which is not finished here yet.")
    gone = [run for run in missing if run not in begun]
    address.say_missing("runs", "this shows the others" if here else "choose among those that are here", gone)
    if len(here) > MOST:
        page.note(f"Up to {MOST} runs are compared at once; these are the first {MOST}.")
    # Those that are missing stay in the address until the visitor chooses: it still says what was sent.
    if len(here) > MOST or len(here) + len(missing) < len(asked) and any(asked):
        address.choose(runs=[*here[:MOST], *missing] or [""])


def _begun(workspace: Workspace, run: str) -> bool:
    try:
        return (workspace.run_folder(run) / "config.json").exists()
    except UserError:  # it can't be a run's id
        return False


def like_it(workspace: Workspace, run: RunFolder) -> list[tuple[RunFolder, str]]:
    """Runs that one is worth comparing with, and why: another seed, the next dictionary sizes, then the rest of the
    experiment by how few factors differ.
    """
    found = [(other, "another seed") for other in siblings(workspace, run)]
    if run.config.get("experiment"):
        found += [(other, "another size") for other in family(workspace, run) if other.id != run.id]
        seen = {run.id, *(other.id for other, _ in found)}
        rest = [other for other in workspace.experiment(run.config["experiment"]).runs() if other.done]
        rest = [other for other in rest if other.id not in seen]
        found += [(other, "") for other in sorted(rest, key=lambda other: len(_different(run, other)))]
    return found


def offer(workspace: Workspace, run: RunFolder) -> None:
    """What to compare a single run with, a button each."""
    found = like_it(workspace, run)[:6]
    if not found:
        st.info("Choose a second run above. This one has no other run in its experiment.")
        return
    st.info("Choose a second run above, or one of these.")
    known = titles(workspace)
    with st.container(horizontal=True, gap="small"):
        for other, why in found:
            title = known.get(other.id, other.title)
            st.button(
                plain(f"{title}{f' ({why})' if why else ''}"), key=f"compare_with_{other.id}",
                on_click=address.choose, kwargs={"runs": [run.id, other.id]},
            )  # fmt: skip


def names(runs: Sequence[RunFolder]) -> list[str]:
    """A short name for each that tells it from the others: the factors that differ, else its place in the row."""
    factors = [{**run.factors, "experiment": run.config.get("experiment") or "elsewhere"} for run in runs]
    varied = [
        name for name in dict.fromkeys(name for one in factors for name in one)
        if len({str(one.get(name)) for one in factors}) > 1
    ]  # fmt: skip
    short = [", ".join(_text(name, one[name]) for name in varied if name in one) or run.title
             for one, run in zip(factors, runs, strict=True)]  # fmt: skip
    given = [str(run.config["name"]) if run.config.get("name") else text for run, text in zip(runs, short, strict=True)]
    return [text if given.count(text) == 1 else f"{text} ({at + 1})" for at, text in enumerate(given)]


def colour(at: int) -> str:
    """The colour of the run at a place, on every figure of the page."""
    return category_color(at, page.theme())


def _text(name: str, value: Any) -> str:
    return str(value) if name == "experiment" else pickers.factor_text(name, value)


def _different(one: RunFolder, other: RunFolder) -> list[str]:
    return [name for name in {*one.factors, *other.factors} if one.factors.get(name) != other.factors.get(name)]
