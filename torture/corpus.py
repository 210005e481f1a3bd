"""Files that are in order, one set for each importer, and the importer that takes them."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from sae.workspace import Workspace

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "formats" / "fixtures"
ROWS, WIDTH = 60, 6


@dataclass(frozen=True)
class Entry:
    """What is in order: files by name, and what opens the folder that holds them."""

    name: str
    files: dict[str, bytes]
    take: Callable[[Path, Workspace], None]


def make(folder: Path) -> tuple[Workspace, list[Entry]]:
    """A workspace with rows and one run, and the corpus of all importers."""
    folder.mkdir()
    workspace = Workspace(folder / "workspace")
    x = np.random.default_rng(0).normal(1, 2, (ROWS, WIDTH)).astype(np.float32)
    source = folder / "x.npy"
    np.save(source, x)
    from sae.capture.arrays import import_activations
    from sae.workspace.imports import import_path

    import_activations(source, workspace.activations_folder("rows"), name="rows")
    run = workspace.run(import_path(workspace, FIXTURES / "saelens" / "topk", "rows"))
    entries = [_sae(path) for path in sorted(FIXTURES.glob("*/*")) if path.parent.name in _TOOLS]
    entries.append(_grid())
    kept = ("config.json", "weights.safetensors", "metrics.json", "history.parquet")
    run_files = {name: (run.folder / name).read_bytes() for name in kept if (run.folder / name).exists()}
    run_files["history.parquet"] = _parquet({"step": [0, 1], "loss": [1.0, 0.5]})
    entries.append(Entry("run folder", run_files, _take_run))
    entries += _arrays(x) + _texts() + [_bundle(workspace, run.id, folder)]
    return workspace, entries


_TOOLS = ("saelens", "sparsify", "dictionary_learning")


def _sae(path: Path) -> Entry:
    files = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "expected.safetensors"}
    return Entry(f"{path.parent.name} {path.name}", files, _take_sae)


def _grid() -> Entry:
    """As the published script saved it: tensors under `model_state_dict` beside `config`."""
    layers = torch.nn.ModuleDict({"encoder": torch.nn.Linear(WIDTH, 16), "decoder": torch.nn.Linear(16, WIDTH)})
    saved = BytesIO()
    torch.save({"model_state_dict": layers.state_dict(), "config": {"k": 3, "latent_dim": 16}}, saved)
    content = saved.getvalue()
    said = {"k": 3, "selection": "signed", "sha256": sha256(content).hexdigest()}
    readme = json.dumps({"state_dicts": {"pos3_d16_k3.pt": said}}).encode()
    return Entry("grid pt", {"pos3_d16_k3.pt": content, "README.json": readme}, _take_grid)


def _arrays(x: np.ndarray) -> list[Entry]:
    lines = [{"question": f"question {i}", "correct": i % 2, "split": "train", "steps": [i]} for i in range(len(x))]
    examples = "\n".join(map(json.dumps, lines)).encode()
    npy = BytesIO()
    np.save(npy, x)
    columns = {f"c{i}": x[:, i].tolist() for i in range(x.shape[1])}
    return [
        Entry("activations npy", {"x.npy": npy.getvalue(), "examples.jsonl": examples}, _take_array),
        Entry("activations safetensors", {"x.safetensors": save({"x": x})}, _take_array),
        Entry("activations parquet", {"x.parquet": _parquet(columns)}, _take_array),
        Entry("activations parquet of lists", {"x.parquet": _parquet({"row": x.tolist()})}, _take_array),
    ]


def _texts() -> list[Entry]:
    from sae.problems import generate
    from sae.problems.gsm8k import write_jsonl

    with_labels = [{"text": f"a text of kind {i % 3}", "label": f"kind {i % 3}"} for i in range(20)]
    lines = "\n".join(map(json.dumps, with_labels)).encode()
    table = _parquet({"text": [line["text"] for line in with_labels], "label": list(range(20))})
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "problems.jsonl"
        write_jsonl(generate(8, 0), path)
        generated = path.read_bytes()
    return [
        Entry("problems jsonl", {"problems.jsonl": generated}, _take_problems),
        Entry("labelled jsonl", {"labelled.jsonl": lines}, _take_labelled),
        Entry("texts jsonl", {"texts.jsonl": lines}, _take_texts),
        Entry("texts parquet", {"texts.parquet": table}, _take_texts),
        Entry("texts csv", {"texts.csv": b"text,label\n" + b"some words,1\n" * 20}, _take_texts),
    ]


def _bundle(workspace: Workspace, run: str, folder: Path) -> Entry:
    """A bundle of one run. See `inside` for mutations of what is in it."""
    from sae.workspace.bundles import make_bundle

    path = folder / "bundle.zip"
    make_bundle(workspace, run, path)
    return Entry("bundle zip", {"bundle.zip": path.read_bytes()}, _take_bundle)


def inside(bundle: bytes, change: Callable[[str, bytes], bytes], choose: Callable[[list[str]], str]) -> bytes:
    """A bundle one of whose files went through `change`, with the sizes and hashes of its manifest set right again."""
    with zipfile.ZipFile(BytesIO(bundle)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    chosen = choose(sorted(files))
    files[chosen] = change(chosen, files[chosen])
    if chosen != "manifest.json":
        manifest = json.loads(files["manifest.json"])
        digest = sha256(files[chosen]).hexdigest()
        manifest["files"][chosen] = {"bytes": len(files[chosen]), "sha256": digest}
        if chosen.endswith(("weights.safetensors", "codes.safetensors")):  # metrics.json names these too
            name = str(Path(chosen).with_name("metrics.json"))
            metrics = json.loads(files[name])
            metrics["sha256"][Path(chosen).name] = digest
            files[name] = json.dumps(metrics).encode()
            manifest["files"][name] = {"bytes": len(files[name]), "sha256": sha256(files[name]).hexdigest()}
        files["manifest.json"] = json.dumps(manifest).encode()
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
    return made.getvalue()


def _parquet(columns: dict[str, list]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = BytesIO()
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


def _take_sae(path: Path, workspace: Workspace) -> None:
    from sae import formats

    found = formats.read(path).model
    with torch.no_grad():
        found(torch.ones(2, found.d_in))


def _take_grid(path: Path, workspace: Workspace) -> None:
    _take_sae(path / "pos3_d16_k3.pt", workspace)


def _take_run(path: Path, workspace: Workspace) -> None:
    from sae.workspace.imports import import_path

    before = {folder.name for folder in (workspace.root / "runs").iterdir()}
    run = import_path(workspace, path, "rows", device="cpu")
    if run not in before:
        _drawn(workspace, run)
        shutil.rmtree(workspace.run_folder(run))


def _drawn(workspace: Workspace, run: str) -> None:
    """What the pages read of a run."""
    found = workspace.run(run)
    assert found.title and found.metrics and len(found.features())
    found.history(), found.pairs(), found.codes()


def _take_array(path: Path, workspace: Workspace) -> None:
    from sae.capture.arrays import import_activations

    examples = path / "examples.jsonl"
    folder = workspace.activations_folder("taken")
    array = next(file for file in path.iterdir() if file.suffix != ".jsonl")
    try:
        import_activations(array, folder, name="taken", examples=examples if examples.exists() else None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_problems(path: Path, workspace: Workspace) -> None:
    from sae.problems import read_jsonl

    read_jsonl(path / "problems.jsonl")


def _take_labelled(path: Path, workspace: Workspace) -> None:
    from sae.problems.labelled_texts import load_labelled

    load_labelled(str(path / "labelled.jsonl"))


def _take_texts(path: Path, workspace: Workspace) -> None:
    from sae.experiments.texts import read_texts

    read_texts(str(next(path.iterdir())))


def _take_bundle(path: Path, workspace: Workspace) -> None:
    from sae.workspace.bundles_merge import open_bundle

    root = workspace.root.parent / "opened"
    other = Workspace(root)
    try:
        opened = open_bundle(other, path / "bundle.zip")
        for name in opened.added:
            kind, _, run = name.partition("/")
            if kind == "runs":
                _drawn(other, run)
    finally:
        other.database.close()
        shutil.rmtree(root, ignore_errors=True)
