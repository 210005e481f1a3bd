"""Thoughts as activations: rows against a pass written out here, order, answers, skipped ones, resuming, refusals."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GroupShuffleSplit

from sae.capture import Activations, capture_thoughts, estimate_thoughts
from sae.capture.estimates import thought_bytes
from sae.capture.overlap import question_overlap
from sae.capture.splits import with_test
from sae.common.errors import Cancelled, UserError
from sae.language_models.codi.model import Codi
from sae.problems import generate
from tests.capture.test_capturing import Stop
from tests.language_models.codi import tiny

N = 23


@pytest.fixture(scope="module")
def codi() -> Codi:
    return tiny.codi()


@pytest.fixture(scope="module")
def examples() -> pd.DataFrame:
    return generate(N, 5).table()


@pytest.fixture(scope="module")
def made(codi: Codi, examples: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Activations:
    """All layers and steps, in float32, from batches of five."""
    folder = tmp_path_factory.mktemp("activations") / "a"
    return capture_thoughts(
        codi, examples, folder, name="a", layers=[1, 0], dtype="float32", batch_size=5, problems_source={"kind": "ours"}
    )


def alone(codi: Codi, question: str) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """One question thought through without a cache, a batch or a mask: at each step the whole sequence is read anew.

    Returns:
        For each step `hidden_states` at the last place (embedding, blocks; the last after the norm), and what came
        out of the last block before the norm.
    """
    base = codi.language_model.base_model
    raw: list[np.ndarray] = []
    handle = base.layers[-1].register_forward_hook(
        lambda module, arguments, output: raw.append(
            (output[0] if isinstance(output, tuple) else output)[0, -1].numpy()
        )
    )
    steps = []
    with torch.inference_mode():
        ids = torch.tensor([[*codi.tokenizer(question)["input_ids"], codi.bot_id]])
        sequence = codi.language_model.get_input_embeddings()(ids)
        for _ in range(7):
            states = base(inputs_embeds=sequence, output_hidden_states=True, use_cache=False).hidden_states
            steps.append([state[0, -1].numpy() for state in states])
            thought = codi.projection(states[-1][:, -1:])
            sequence = torch.cat([sequence, thought], dim=1)
    handle.remove()
    return steps, raw


def _sha256(folder: Path) -> dict[str, str]:
    names = ("activations.npy", "rows.parquet", "examples.parquet")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def test_every_layer_and_step_as_a_question_alone_gives_it(
    codi: Codi, examples: pd.DataFrame, made: Activations
) -> None:
    assert (made.n_rows, made.d_in, made.n_examples) == (2 * 7 * N, codi.d_model, N)
    for number in (0, 7, N - 1):
        steps, raw = alone(codi, examples["question"][number])
        for step in range(7):
            first = made.slice(layer=0, position=step)
            last = made.slice(layer=1, position=step)
            np.testing.assert_allclose(first.x[number], steps[step][1], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(last.x[number], raw[step], rtol=1e-4, atol=1e-4)
            assert np.abs(last.x[number] - steps[step][2]).max() > 1e-2  # which is after the norm


def test_the_last_block_after_the_norm(codi: Codi, examples: pd.DataFrame, made: Activations, tmp_path: Path) -> None:
    after = capture_thoughts(
        codi, examples, tmp_path / "a", name="a", layers=[0, 1], dtype="float32", final_norm="after", steps=[2]
    )
    steps, _ = alone(codi, examples["question"][3])
    np.testing.assert_allclose(after.slice(layer=1).x[3], steps[2][2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(after.slice(layer=0).x, made.slice(layer=0, position=2).x, rtol=1e-4, atol=1e-4)
    assert "hidden_states[-1]" in after.manifest["site"] and "before the final norm" in made.manifest["site"]


def test_rows_are_those_of_batch_size_one(
    codi: Codi, examples: pd.DataFrame, made: Activations, tmp_path: Path
) -> None:
    one = capture_thoughts(codi, examples, tmp_path / "a", name="a", layers=[0, 1], dtype="float32", batch_size=1)
    np.testing.assert_allclose(one.array, made.array, rtol=1e-4, atol=1e-5)
    assert one.examples["model_answer"].tolist() == made.examples["model_answer"].tolist()


def test_what_the_files_say(codi: Codi, examples: pd.DataFrame, made: Activations) -> None:
    assert made.is_thoughts
    manifest = made.manifest
    assert manifest["positions"] == "thoughts" and manifest["steps"] == list(range(7)) and manifest["layers"] == [0, 1]
    assert manifest["model"]["n_layers"] == 2 and manifest["model"]["kind"] == "pure"
    assert manifest["problems"] == {"kind": "ours"} and manifest["skipped"] == []
    assert "'latent' position p is step p + 1" in manifest["convention_note"]
    expected = [(layer, step) for layer in (0, 1) for step in range(7)]
    assert [(s["block_index"], s["position"]) for s in manifest["slices"]] == expected
    assert [s["hidden_states_index"] for s in manifest["slices"]] == [1] * 7 + [2] * 7
    assert [(s.layer, s.position) for s in made.slices] == expected
    assert made.slice(1, 3).title == "layer 1, position 3 (z3)" and made.slice(1, 3).key == "L1P3"
    rows = made.rows
    assert list(rows) == ["example", "split", "layer", "position"]
    for (layer, step), piece in zip(expected, made.slices, strict=True):
        here = rows.iloc[piece.start : piece.stop]
        assert here["example"].tolist() == list(range(N))
        assert set(here["layer"]) == {layer} and set(here["position"]) == {step}


def test_answers_and_what_thoughts_read_as(codi: Codi, examples: pd.DataFrame, made: Activations) -> None:
    table = made.examples
    for number in (0, 11):
        ids = codi.encode([examples["question"][number]])
        with torch.inference_mode():
            thinking = codi.think(ids)
            shares = codi.language_model.get_output_embeddings()(thinking.final[:, 0])[:, : codi.eot_id].softmax(-1)
            (answer,) = codi.answer(thinking)
            # The log-probability once more, of the answer as a whole.
            logits = codi.continue_with(codi.think(ids), [list(answer.ids[:-1])])
        expected = logits.log_softmax(-1)[0, range(len(answer.ids)), list(answer.ids)].sum().item()
        line = table.iloc[number]
        assert line["model_answer"] == answer.text
        assert line["answer_log_prob"] == pytest.approx(expected, abs=1e-3)
        assert math.isnan(line["model_number"]) if answer.number is None else line["model_number"] == answer.number
        assert bool(line["correct"]) == (answer.number == examples["final_answer"][number])
        read = json.loads(line["thoughts"])
        assert [len(step) for step in read] == [5] * 7
        for step, words in enumerate(read):
            best = shares[step].topk(5)
            assert [share for _, share in words] == pytest.approx(best.values.tolist(), abs=1e-4)
            assert words[0][0] == codi.tokenizer.decode([int(best.indices[0])])
    assert made.manifest["answers"]["n"] == N
    assert made.manifest["answers"]["accuracy"] == table["correct"].mean()
    assert table["unknown_words"].tolist() == [0] * N


def test_what_can_not_be_read_is_listed_and_what_can_not_be_judged_is_missing(
    codi: Codi, examples: pd.DataFrame, tmp_path: Path
) -> None:
    odd = examples.iloc[:6].copy()
    odd["question"] = [
        odd["question"].iloc[0],
        "  ",
        "Ann zaps 3 blorps and 3 blorps.",
        " ".join([odd["question"].iloc[0]] * 20),
        None,
        odd["question"].iloc[5],
    ]
    odd["final_answer"] = np.nan
    odd["answer"] = [odd["answer"].iloc[0], "", "", "", "", "I don't know."]
    made = capture_thoughts(codi, odd, tmp_path / "a", name="a", layers=[0], steps=[0, 6])
    skipped = {line["example"]: line["reason"] for line in made.manifest["skipped"]}
    assert set(skipped) == {1, 2, 3, 4}
    assert skipped[1] == skipped[4] == "no words"
    assert "words that the model does not know" in skipped[2] and "'zaps'" in skipped[2]
    assert skipped[3].startswith(f"longer than the {256 - 6 - 2 - 32} tokens")
    assert made.rows["example"].tolist() == [0, 5, 0, 5] and made.n_examples == 6
    table = made.examples
    assert table["correct"].isna().tolist() == [False, True, True, True, True, True]
    assert table["model_answer"].isna().tolist() == [False, True, True, True, True, False]
    assert table["thoughts"].isna().tolist() == table["answer_log_prob"].isna().tolist()
    assert table["unknown_words"][2] >= 3 and table["unknown_words"][0] == 0
    assert made.manifest["answers"]["n"] == 1
    with pytest.raises(UserError, match=r"none of the 1 problems can be read by 'tiny': example 0: no words"):
        capture_thoughts(codi, odd.iloc[1:2], tmp_path / "b", name="b", layers=[0])


def test_test_problems_stand_beside_the_usual_split(codi: Codi, examples: pd.DataFrame, tmp_path: Path) -> None:
    test = pd.concat([generate(5, 9).table(), examples.iloc[:1]]).drop(columns="theme")
    made = capture_thoughts(codi, with_test(examples, test), tmp_path / "a", name="a", layers=[0], steps=[3])
    groups = examples["group"].to_numpy()
    held = next(GroupShuffleSplit(1, test_size=0.2, random_state=42).split(groups, groups=groups))[1]
    expected = ["validation" if number in held else "train" for number in range(N)] + ["test"] * 6
    assert made.rows["split"].tolist() == made.examples["split"].tolist() == expected
    assert made.slice().test_rows.tolist() == list(range(N, N + 6))
    assert question_overlap(made) == (expected[0] == "train") + sum(
        q in set(examples["question"][[e == "train" for e in expected[:N]]]) for q in made.examples["question"][N:-1]
    )


def test_the_same_again_returns_it_and_another_spec_is_refused(
    codi: Codi, examples: pd.DataFrame, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"name": "a", "layers": [0], "steps": [1, 2]}
    capture_thoughts(codi, examples, tmp_path / "a", **common)
    before = (tmp_path / "a" / "activations.npy").stat().st_mtime_ns
    # Without the last block the norm makes no difference.
    again = capture_thoughts(codi, examples, tmp_path / "a", **common, batch_size=1, final_norm="after")
    assert (again.folder / "activations.npy").stat().st_mtime_ns == before
    for other in ({"steps": [1]}, {"layers": [1]}, {"dtype": "float32"}):
        with pytest.raises(UserError, match=f"with other {next(iter(other))}"):
            capture_thoughts(codi, examples, tmp_path / "a", **{**common, **other})


def test_cancelled_and_resumed_gives_the_same_bytes(codi: Codi, examples: pd.DataFrame, tmp_path: Path) -> None:
    common: dict[str, Any] = {"layers": [0, 1], "batch_size": 4}
    capture_thoughts(codi, examples, tmp_path / "whole", name="whole", **common)

    class StopThinking(Stop):
        def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
            super().update(done, total, stage.replace("thinking", "capturing"), **figures)

    for at in (0, 1, 2):
        with pytest.raises(Cancelled):
            capture_thoughts(codi, examples, tmp_path / "a", name="a", **common, progress=StopThinking(at))
        assert not (tmp_path / "a").exists()
    assert json.loads((tmp_path / ".a.partial" / "state.json").read_text())["batches"] == 3
    with open(tmp_path / ".a.partial" / "thoughts.jsonl", "a") as journal:
        journal.write('[{"answer": "of a batch that the state does not count"}]\n[{"cut of')
    with pytest.raises(UserError, match=r"unfinished capture 'a' has other dtype"):
        capture_thoughts(codi, examples, tmp_path / "a", name="a", **common, dtype="float32")
    # The batches of the first start count, not those of the call that goes on.
    capture_thoughts(codi, examples, tmp_path / "a", name="a", **{**common, "batch_size": 7})
    assert _sha256(tmp_path / "a") == _sha256(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "activations.npy",
        "examples.parquet",
        "manifest.json",
        "rows.parquet",
    ]


KILLED = """
import sys, time
from pathlib import Path
from sae.capture import capture_thoughts, filling
from sae.problems import generate
from tests.language_models.codi import tiny
filling._SAVE_SECONDS = 0.0
class Slow:
    def update(self, done, total, stage="", **figures):
        print(stage, done, flush=True)
        if stage.startswith("thinking"):
            time.sleep(0.05)
folder = Path(sys.argv[1])
capture_thoughts(tiny.codi(), generate(23, 5).table(), folder, name="a", layers=[0, 1], batch_size=2, progress=Slow())
"""


def test_killed_and_resumed_gives_the_same_bytes(codi: Codi, examples: pd.DataFrame, tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        seen = set()
        for line in process.stdout:
            if line.startswith("thinking"):
                seen.add(line)
            if len(seen) == 6:
                os.kill(process.pid, signal.SIGKILL)
                break
    state = json.loads((tmp_path / ".a.partial" / "state.json").read_text())
    assert 3 <= state["batches"] <= 6
    common: dict[str, Any] = {"layers": [0, 1], "batch_size": 2}
    capture_thoughts(codi, examples, tmp_path / "a", name="a", **common)
    capture_thoughts(codi, examples, tmp_path / "whole", name="whole", **common)
    assert _sha256(tmp_path / "a") == _sha256(tmp_path / "whole")


def test_rows_do_not_depend_on_the_number_of_cores(codi: Codi, examples: pd.DataFrame, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            capture_thoughts(codi, examples, tmp_path / str(threads), name=str(threads), layers=[0, 1], batch_size=2)
    finally:
        torch.set_num_threads(before)
    assert _sha256(tmp_path / "1") == _sha256(tmp_path / "4")


def test_the_estimate_is_what_comes(codi: Codi, examples: pd.DataFrame, made: Activations) -> None:
    guess = estimate_thoughts(codi, examples, layers=[0, 1], dtype="float32")
    assert (guess.rows, guess.bytes, guess.tokens) == (made.n_rows, made.array.nbytes, made.manifest["tokens"])
    assert guess.seconds is not None and guess.seconds > 0
    part = estimate_thoughts(codi, examples, layers=[0], steps=[1, 3], measure=False)
    assert (part.rows, part.seconds) == (2 * N, None)
    # 16 layers of 2,048 numbers of 2 bytes at 7 steps of 7,473 problems.
    assert thought_bytes(7473, 16, 7, 2048) == 3_428_253_696


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [2]}, "layer 2 is not there: 'tiny' has layers 0 to 1"),
        ({"layers": []}, "no layer"),
        ({"steps": [7]}, "step 7 is not there: 'tiny' has steps 0 to 6"),
        ({"steps": []}, "no step"),
        ({"final_norm": "both"}, "before or after"),
        ({"dtype": "int8"}, "float16 or float32"),
        ({"batch_size": 0}, "at least 1"),
        ({"name": "b"}, "must end in"),
    ],
)
def test_bad_arguments(
    codi: Codi, examples: pd.DataFrame, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    arguments: dict[str, Any] = {"name": "a", "layers": [0], **change}
    with pytest.raises(UserError, match=message):
        capture_thoughts(codi, examples, tmp_path / "a", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_float16_are_refused_and_nothing_is_in_the_way(examples: pd.DataFrame, tmp_path: Path) -> None:
    large = tiny.codi()
    with torch.no_grad():
        large.language_model.base_model.layers[0].mlp.down_proj.weight.mul_(1e7)
    with pytest.raises(UserError, match=r"layer 0, position 0 \(BOT\) has values that float16 can't hold at example"):
        capture_thoughts(large, examples, tmp_path / "a", name="a", layers=[0])
    assert list(tmp_path.iterdir()) == []
