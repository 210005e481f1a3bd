"""A table of labelled texts, read by the language model that the activations come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sae.analysis.codes import FeatureActivations
from sae.capture import capture_language_model
from sae.capture.planted import Planting, plant_activations
from sae.common.errors import UserError
from sae.common.progress import Silent
from sae.experiments import MEASUREMENTS
from sae.experiments.measurement import Case
from sae.experiments.tables import captured, cut, encoded
from sae.language_models import load
from sae.models import build
from sae.models.topk import TopK
from tests.language_models import tiny


def case_of(folder: Path, positions: str) -> Case:
    source = tiny.make(folder / "llama")
    activations = capture_language_model(
        load(str(source)),
        pd.DataFrame({"question": tiny.TEXTS}),
        folder / "activations",
        name="activations",
        layers=[1],
        positions=positions,
        dtype="float32",
    )
    torch.manual_seed(0)
    model = TopK(tiny.D_MODEL, 64, 8).eval()
    for parameter in (model.W_enc, model.W_dec):
        torch.nn.init.normal_(parameter)
    empty = FeatureActivations.from_dense(np.zeros((activations.n_rows, 64), np.float32))
    return Case("run", {}, model, empty, activations.slice(), activations, lambda: None, "cpu")  # type: ignore


def table(folder: Path) -> Path:
    """200 texts; the label is whether a text speaks of cats."""
    lines = [
        {"text": f"The {'cat' if i % 2 else 'tree'} number {i} is here.", "label": "cat" if i % 2 else "tree"}
        for i in range(200)
    ]
    path = folder / "table.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_probing_a_table(tmp_path: Path, pooling: str) -> None:
    case, path = case_of(tmp_path, "all"), table(tmp_path)
    kind = MEASUREMENTS["sparse-probing"]
    given = {"table": str(path), "pooling": pooling, "k": "1,5", "draws": 50, "saebench": False}
    found = kind.of(case, kind.settings_of(given), Silent())
    metrics = found.results[0]["metrics"]
    assert metrics["labels"] == 1 and 20 <= found.results[0]["n"] <= 40 and found.notes["data"] == str(path)
    if pooling == "mean":  # the word is somewhere in the text, and its embedding in every state at it
        assert metrics["llm_test_accuracy"] > 0.9
    piece, columns = captured(case, str(path), pooling, 128, Silent())
    assert columns == ("label",) and piece.layer == 1
    assert captured(case, str(path), pooling, 128, Silent())[0] is piece  # read once for all runs
    # The SAE reads every token, and its codes are averaged, as SAEBench does.
    codes = encoded(case, piece)
    dense = case.model.encode(torch.from_numpy(np.array(piece.x, np.float32))).detach().numpy()
    np.testing.assert_allclose(codes.toarray(), dense, atol=1e-6)
    owner = piece.rows["example"].to_numpy()
    assert (np.bincount(owner) > 1).all() if pooling == "mean" else (np.bincount(owner) == 1).all()


def test_texts_are_cut_at_a_token(tmp_path: Path) -> None:
    model = load(str(tiny.make(tmp_path / "llama")))
    texts = ["One two three four five six seven.", "1."]
    short = cut(model, texts, 3)
    assert short[1] == "1." and texts[0].startswith(short[0])
    assert len(model.tokenize(short)[0].kept) == 3
    assert cut(model, texts, 0) == texts


def test_activations_without_a_model_read_nothing(tmp_path: Path) -> None:
    made = plant_activations(Planting(rows=60, d_in=8), tmp_path / "p", name="p")
    sae = build("topk", d_in=8, d_sae=16, k=2)
    case = Case("run", {}, sae, None, made.slice(), made, lambda: None, "cpu")  # type: ignore
    with pytest.raises(UserError, match="'p' come from none: leave table empty"):
        captured(case, str(table(tmp_path)), "mean", 0, Silent())
