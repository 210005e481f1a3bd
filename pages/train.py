"""Train: which activations, which experiment, which device, at what cost; then watch the grid fill."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from sae.capture.store import Activations
from sae.common.errors import UserError
from sae.experiments import MEASUREMENTS
from sae.experiments.plan import LAYERS, SLICE_FACTORS, Kind, Plan, seed_values
from sae.experiments.recipes import Recipe
from sae.ui import address, define_form, empty, measure_form, page, role, settings_form, train_form, watch_view
from sae.ui.commands import keep_uploads, run_command
from sae.ui.devices import devices
from sae.ui.pickers import (
    pick_activations,
    pick_choice,
    pick_experiment,
    pick_many,
    pick_number,
    pick_slice,
    pick_text,
)
from sae.ui.words import bytes_text, plain, seconds_text
from sae.workspace.executors import configured
from sae.workspace.kinds import kinds_here
from sae.workspace.start import start_experiment

VIEWS = {"new": "New experiment", "watch": "Watch", "load": "Load an SAE"}
workspace = page.workspace()


def new_experiment() -> None:
    """The form, its check and its cost, and Start."""
    if not workspace.activations():
        empty.no_activations()
        return
    first = st.container(horizontal=True, vertical_alignment="bottom")
    kinds = kinds_here(workspace)
    titles = {name: one.kind.title for name, one in kinds.items()}
    titles |= {name: kind.title for name, kind in MEASUREMENTS.items()}
    with first, st.container(width=230):
        default = next(iter(kinds))
        chosen = pick_choice("Experiment", list(titles), name="kind", format=titles.__getitem__, default=default)
    if chosen in MEASUREMENTS:
        measure_form.show(workspace, MEASUREMENTS[chosen], first, pick_device)
        return
    kind = kinds[chosen or default].kind
    with first, st.container(width=260):
        activations = pick_activations(workspace)
    if activations is None:
        return
    several = train_form.several_layers(kind, address.get("architecture"))
    with first:
        piece = activations.slices[0]
        if not kind.over_slices:
            with st.container(horizontal=True, width="content"):
                piece = pick_slice(activations, all_layers=several)
        pick_device()
    each = " in each slice" if kind.over_slices else " in each layer" if several else ""
    st.caption(
        f"{kind.question} {len(piece.train_rows):,} training rows of {activations.d_in:,} dimensions{each}, "
        f"{len(piece.validation_rows):,} held out."
    )
    try:
        factors = pick_factors(kind, activations)
        changed = settings_form.pick_settings(kind, factors)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            with st.container(width=320):
                name = pick_text("Name", name="name", default=train_form.free_name(workspace, activations.name, kind))
            spec = {
                "kind": kind.name,
                "name": name.strip(),
                "activations": activations.name,
                "layer": None if kind.over_slices or several else piece.layer,
                "position": None if kind.over_slices else piece.position,
                "factors": factors,
                "settings": changed,
            }
            if (definition := kinds[kind.name].definition) is not None:
                spec["definition"] = definition
            plan = train_form.check(workspace, spec)
            buttons(spec, plan)
    except UserError as error:
        page.show_error(str(error))
    define_form.show(workspace, kind)


def pick_factors(kind: Kind, activations: Activations) -> dict[str, list[Any]]:
    """A list of values for each factor of the experiment. Raises UserError for one that can't be read."""
    found: dict[str, list[Any]] = {}
    problems = []
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for factor in kind.factors:
            title = factor.title[0].upper() + factor.title[1:]
            if factor.name in SLICE_FACTORS:
                here = list(dict.fromkeys(getattr(piece, factor.name) for piece in activations.slices))
                with st.container(width=280):
                    chosen = pick_many(title, here, name=f"{factor.name}s", placeholder="all")
                found[factor.name] = [value for value in here if value in chosen] or here
            elif factor.name == LAYERS:
                sets = list(dict.fromkeys([*factor.default, *train_form.layer_sets(activations)]))
                with st.container(width=280):
                    found[LAYERS] = pick_many(title, sets, name=LAYERS, default=factor.default or sets)
            elif recipes := kind.recipes.get(factor.name):
                with st.container(width=280 if len(factor.default) == 1 else "stretch"):
                    found[factor.name] = pick_many(
                        f"{title}s", list(recipes), name=factor.name, default=factor.default, help=_meanings(recipes)
                    )
            elif factor.name == "seed":
                with st.container(width=110):
                    seeds = pick_number(
                        "Seeds",
                        name="seeds",
                        default=len(factor.default),
                        low=1,
                        high=1000,
                        help="How often each cell is trained, from seed 0 up.",
                    )
                found["seed"] = seed_values(int(seeds))
            elif choices := train_form.choices_of(kind, factor):
                with st.container(width=280):
                    found[factor.name] = pick_many(title, choices, name=factor.name, default=factor.default)
            else:
                with st.container(width=215):
                    text = pick_text(title, name=factor.name, default=", ".join(f"{v:g}" for v in factor.default))
                try:
                    whole = all(isinstance(value, int) for value in factor.default)
                    found[factor.name] = (train_form.whole_numbers if whole else train_form.numbers)(text, title)
                except UserError as error:
                    problems.append(error)
    for factor in kind.factors:
        if not found.get(factor.name, True):
            raise UserError(f"{factor.title}: choose at least one")
    if problems:
        raise problems[0]
    return found


def _meanings(recipes: Mapping[str, Recipe]) -> str:
    return "\n".join(f"- `{name}`: {one.meaning}" for name, one in recipes.items())


@st.fragment(run_every=1.0)
def _until_devices_are_known() -> None:
    if devices().known is not None:
        st.rerun()


def pick_device() -> str:
    """`auto` or one of this machine's devices, with name and free memory once they are known."""
    known = devices().look()
    names = {
        d.name: f"{d.name}: {d.title}, {bytes_text(d.free_memory)} free" if d.free_memory else f"{d.name}: {d.title}"
        for d in known or []
    }
    asked = address.get("device")
    options = ["auto", *names, *([asked] if asked and known is None and asked != "auto" else [])]
    fastest = f"auto: {known[0].title}" if known else "auto: the fastest here"
    with st.container(width=330):
        device = (
            pick_choice(
                "Device",
                options,
                name="device",
                default="auto",
                format=lambda d: fastest if d == "auto" else names.get(d, d),
            )
            or "auto"
        )
        if known is None:
            _until_devices_are_known()
    return device


def buttons(spec: dict[str, Any], plan: Plan) -> None:
    """Start, and the cost."""
    device = address.get("device") or "auto"
    if role.may_change():
        st.button(
            f"Start {len(plan.runs):,} run{'' if len(plan.runs) == 1 else 's'}",
            type="primary",
            on_click=train_form.start,
            args=(workspace, spec, device, start_experiment),
        )
    measure = role.may_change() and st.button(
        "Measure the cost", help="Trains a few steps of every size on the device: about a second each."
    )
    key = "cost_of"
    if measure:
        st.session_state[key] = spec | {"name": ""}
    if st.session_state.get(key) == spec | {"name": ""}:
        with st.spinner("Measuring"):
            cost = train_form.estimate(workspace, spec, device)
        st.markdown(
            f"{train_form.count_text(plan)}: about **{seconds_text(cost['seconds'])}** on "
            f"{plain(cost['device_name'])}, {bytes_text(cost['memory_bytes'])} of memory, "
            f"{bytes_text(cost['disk_bytes'])} on disk"
        )
    else:
        st.markdown(f":gray[{train_form.count_text(plan)}]")
    st.caption(f"Runs on {plain(configured(workspace).describe())}.")


def watch() -> None:
    """The cells of an experiment."""
    with controls, st.container(width=340):
        experiment = pick_experiment(workspace, lambda experiment: True)
    if experiment is None:
        empty.no_experiments()
        return
    watch_view.watch(workspace, experiment.name, page.theme())


def load() -> None:
    """An SAE from elsewhere becomes a run, measured on activations that are here."""
    if not workspace.activations():
        empty.no_activations()
        return
    if not role.may_change():
        st.caption("This server is read-only.")
        return
    st.caption(
        "A run folder of this project, a folder of SAELens, sparsify or dictionary_learning, or the published grid's "
        ".pt file. It is measured on the activations you choose and then opens like any run."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=200):
            activations = pick_activations(workspace, "Measured on")
        if activations is None:
            return
        piece = pick_slice(activations)
        with st.container(width=190):
            k = pick_text("K, if the file doesn't say it", name="load_k")
        written = {}
        if len(activations.slices) > 1:
            for flag, part in (("--target-layer", "layer"), ("--target-position", "position")):
                with st.container(width=140):
                    help_ = f"Of a transcoder: the {part} that it reconstructs. Empty: the one that it reads."
                    written[flag] = (pick_text(f"Writes {part}", name=f"load_target_{part}", help=help_), part)
    left, right = st.columns(2, gap="medium")
    with left:
        files = st.file_uploader(
            "Files", accept_multiple_files=True, key="load_files", type=["safetensors", "json", "pt", "parquet"]
        )
    with right:
        path = (
            pick_text("Or a path on the server", name="load_path", placeholder="/home/me/saes/layer-9")
            if role.local()
            else ""
        )
        st.caption(
            "A folder may also be uploaded as its files, chosen together. With SAELens installed, `saelens:RELEASE/ID` "
            "in place of a path is an SAE of its registry."
        )
    if st.button("Load it", type="primary", disabled=not files and not path.strip()):
        with page.errors_shown("loading the SAE"), tempfile.TemporaryDirectory() as scratch:
            role.require_change()
            source = keep_uploads(files, Path(scratch) / "uploaded-sae") if files else Path(path.strip()).expanduser()
            words: list[str | Path] = ["import", source, "--activations", activations.name]
            for flag, value in (("--layer", piece.layer), ("--position", piece.position)):
                words += [flag, str(value)] if value is not None else []
            for flag, (text, part) in written.items():
                words += [flag, str(train_form.whole_numbers(text, part)[0])] if text.strip() else []
            if k.strip():
                words += ["--k", str(train_form.whole_numbers(k, "K")[0])]
            with st.spinner("Reading and measuring it"):
                run = run_command(workspace, words)["config"]["id"]
            st.success(f"It is here as run {plain(run)}.")
            empty.link("run", "Open the run", run=run)


head = page.head("Train", "Which SAEs are trained on which activations, at what cost, and how far are they?")
with page.errors_shown("showing this page"):
    busy = any(job.kind in ("experiment", "measurement", "demo") for job in workspace.jobs.active())
    order = sorted(VIEWS, key=lambda view: view != "watch") if busy else list(VIEWS)
    controls = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with controls, st.container(width="content"):
        view = pick_choice(
            "What to do",
            list(VIEWS),
            name="show",
            start=order[0],
            format=lambda v: VIEWS[v],
            look="buttons",
            visible=False,
        )
    if error := st.session_state.pop("start_error", None):
        page.show_error(error)
    {"new": new_experiment, "watch": watch, "load": load}[view or "new"]()
