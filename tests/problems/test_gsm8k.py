"""GSM8K answers and files: what is read, what is skipped, what is noted."""

import contextlib
import json
import subprocess
import sys
import time
from typing import Any

import pytest

from sae.common.errors import UserError
from sae.problems import from_records, gsm8k, load_hub, parse_answer, read_jsonl, write_jsonl
from sae.problems.answers import read_answer

CLIPS = {
    "question": "Natalia sold clips to 48 of her friends, and half as many in May. How many in all?",
    "answer": "She sold 48/2 = <<48/2=24>>24 clips in May.\nThat is 48+24 = <<48+24=72>>72 clips.\n#### 72",
}


def kinds(answer):
    return [kind for kind, _ in read_answer(answer).oddities]


def test_an_answer():
    steps, final = parse_answer(CLIPS["answer"])
    assert final == 72
    assert [s.expression for s in steps] == ["48/2", "48+24"]
    assert [s.operands for s in steps] == [(48, 2), (48, 24)]
    assert [s.operations for s in steps] == ["/", "+"]
    assert [s.value for s in steps] == [24, 72]
    assert steps[0].text == "She sold 48/2 = 24 clips in May."


def test_several_steps_on_one_line():
    steps, _ = parse_answer("<<1+2=3>>3 and <<3+4=7>>7\n#### 7")
    assert [s.value for s in steps] == [3, 7]
    assert steps[0].text == steps[1].text == "3 and 7"


@pytest.mark.parametrize(
    ("final", "value"),
    [("72", 72), ("1,080", 1080), ("109,200,000", 109200000), ("-12", -12), ("$5", 5), ("$1,080.50", 1080.5),
     ("20%", 20), ("2.5", 2.5), (".5", 0.5), ("72.", 72), ("3/4", 0.75), ("<<70+2=72>>72", 72)],
)  # fmt: skip
def test_final_answers(final, value):
    assert parse_answer(f"text\n#### {final}")[1] == pytest.approx(value)
    assert parse_answer(f"text\r\n####{final}  \r\n")[1] == pytest.approx(value)


@pytest.mark.parametrize(
    "answer",
    ["no marker", "", "#### ", "#### many", "#### nan", "#### inf", "#### 1e999", "#### " + "9" * 5000,
     "#### 72 clips", "#### 1+1", "### 72"],
)  # fmt: skip
def test_no_final_answer(answer):
    with pytest.raises(UserError):
        parse_answer(answer)


@pytest.mark.parametrize(
    "annotation",
    ["20%*50=10", "50*.2=10", "10/3=3.33", "10/3=3.34", "200/3=66", "200/3=67", "30/60*100=50%",
     "1/2*20%=10%", "0.1+0.2=0.3", "12*-2=-24", "1-1/4=3/4", "1,000*2=2,000", "2x3=6", "0.30*2=$0.60"],
)  # fmt: skip
def test_values_that_agree(annotation):
    parsed = read_answer(f"<<{annotation}>>\n#### 1")
    assert len(parsed.steps) == 1
    assert not parsed.oddities


@pytest.mark.parametrize("annotation", ["48/2=25", "2+2=5", "10/3=5", "100/3=33.9", "2-3=1"])
def test_values_that_disagree_are_kept_and_noted(annotation):
    parsed = read_answer(f"<<{annotation}>>\n#### 1")
    assert len(parsed.steps) == 1
    assert [kind for kind, _ in parsed.oddities] == ["value"]
    assert annotation in parsed.oddities[0][1]


def test_a_percent_sign_as_a_unit_of_the_value():
    assert parse_answer("<<30/60*100=50%>>\n#### 50")[0][0].value == 50
    assert parse_answer("<<20%+30%=50%>>\n#### 50")[0][0].value == pytest.approx(0.5)


@pytest.mark.parametrize(
    "body",
    ["<<48/2>>24", "<<>>", "<<=24>>", "<<48/2=>>24", "<<48/2=24 and", "48/2=24>>", "<48/2=24>24",
     "<<48/2=2<<48/2=24>>24", "<<<48/2=24>>>", "<<9**9**9=1>>", "<<4/0=0>>", "<<x=24>>", "<<48/2=24\n>>",
     "<<(((=1>>", "<<1=2=3>>"],
)  # fmt: skip
def test_broken_annotations_are_noted(body):
    parsed = read_answer(f"{body}\n#### 24")
    assert parsed.final == 24
    assert set(kind for kind, _ in parsed.oddities) == {"annotation"}


def test_other_oddities():
    assert kinds("#### 5\n#### 6") == ["final"]
    assert kinds("<<2+3=5>>\n#### 5\nThat is all.") == ["final"]
    assert kinds("It is 5.\n#### 5") == ["no steps"]


@pytest.mark.parametrize("part", ["<<", ">>", "<", "<<1+1=2>>", "<<1=", "<a=", "=", "#### ", "(", "9", " ", "\n"])
def test_hostile_answers_take_no_longer_than_their_length(part):
    start = time.perf_counter()
    for answer in (part * 40_000 + "\n#### 1", "#### " + part * 40_000):
        with contextlib.suppress(UserError):
            read_answer(answer)
    assert time.perf_counter() - start < 5


def write_lines(tmp_path, *lines):
    path = tmp_path / "problems.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def test_bad_lines_are_skipped_with_their_number(tmp_path):
    good = json.dumps(CLIPS).encode() + b"\r\n"
    path = write_lines(
        tmp_path,
        b"\xef\xbb\xbf" + good,
        b"{not json}\n",
        b"\n",
        b'{"question": "Q?"}\n',
        b'{"answer": "#### 1"}\n',
        b'{"question": "Q?", "answer": "no final"}\n',
        b'{"question": "Q?", "answer": 5}\n',
        b'{"question": " ", "answer": "#### 1"}\n',
        b'["question", "answer"]\n',
        b'{"question": "\xff", "answer": "#### 1"}\n',
        b'{"question": "\\ud800", "answer": "#### 1"}\n',
        b'{"question": "a\\u0000b", "answer": "#### 1"}\n',
        b'{"question": "a\0b", "answer": "#### 1"}\n',
        b'{"question": "' + b"a" * 10_000_000 + b'", "answer": "#### 1"}\n',
        b"[" * 100_000 + b"\n",
        b'{"question": "Q?", "answer": "#### 1", "id": ' + b"9" * 5000 + b"}\n",
        good.rstrip(),
    )
    problems = read_jsonl(path)
    assert [e.line for e in problems.examples] == [0, 16]
    assert [s.line for s in problems.skipped] == [1, *range(3, 16)]
    assert all(s.reason for s in problems.skipped)
    assert str(problems.skipped[0]).startswith("line 1 (counted from 0) skipped: not JSON")
    assert problems.source == {"kind": "jsonl", "path": str(path)}


def test_a_broken_step_keeps_the_problem_and_stands_in_the_notes(tmp_path):
    record = {"question": "Q?", "answer": "<<1+1=2>>2, <<2+=3>>3, <<2*2=5>>5\n#### 5"}
    problems = read_jsonl(write_lines(tmp_path, b"\n", json.dumps(record).encode()))
    assert [s.expression for s in problems.examples[0].steps] == ["1+1", "2*2"]
    assert [(n.line, n.kind) for n in problems.notes] == [(1, "annotation"), (1, "value")]
    assert str(problems.notes[0]).startswith("line 1 (counted from 0): annotation: ")


def test_limit_counts_problems_not_lines(tmp_path):
    line = json.dumps(CLIPS).encode() + b"\n"
    path = write_lines(tmp_path, b"broken\n", line, line, line)
    problems = read_jsonl(path, limit=2)
    assert [e.line for e in problems.examples] == [1, 2]
    for limit in (0, -1):
        with pytest.raises(UserError, match="at least 1"):
            read_jsonl(path, limit=limit)


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "nul\0byte.jsonl"])
def test_files_that_cannot_be_opened(tmp_path, name):
    with pytest.raises(UserError, match="cannot read"):
        read_jsonl(f"{tmp_path}/{name}")


def test_written_problems_are_read_again(tmp_path):
    records: list[dict[str, Any]] = [
        {**CLIPS, "template": "clips", "level": 3, "tags": ["a", "b"], "gone": None},
        {**CLIPS, "level": 4},
    ]
    problems = from_records(records)
    write_jsonl(problems, tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl").examples == problems.examples
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("before")
    with pytest.raises(UserError):
        write_jsonl(from_records([{**CLIPS, "label": object()}]), path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_the_table(tmp_path):
    records: list[dict[str, Any]] = [
        {**CLIPS, "template": "clips", "level": 3, "tags": ["a"], "steps": "own", "mixed": 1, "huge": 10**30},
        {"question": "Q?", "answer": "It is 5.\n#### 5", "level": None, "mixed": "one"},
    ]
    table = from_records(records).table()
    assert list(table.columns[:7]) == [
        "question", "answer", "final_answer", "n_steps", "steps", "operations", "line",
    ]  # fmt: skip
    assert list(table.columns[7:]) == ["template", "level", "tags", "steps_label", "mixed", "huge"]
    assert table["operations"].tolist() == ["/+", ""]
    assert table["n_steps"].tolist() == [2, 0]
    assert table["line"].tolist() == [0, 1]
    assert json.loads(table["steps"][0])[1] == {
        "text": "That is 48+24 = 72 clips.", "expression": "48+24", "operands": [48.0, 24.0],
        "operations": "+", "value": 72.0,
    }  # fmt: skip
    table.to_parquet(tmp_path / "table.parquet")


def test_the_table_of_nothing():
    assert from_records([]).table().shape == (0, 7)


def test_the_hub_without_network_is_one_line_in_seconds(monkeypatch, tmp_path):
    import huggingface_hub

    def refuse(*args, **kwargs):
        raise OSError("Name or service\nnot known")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    start = time.perf_counter()
    with pytest.raises(UserError) as caught:
        load_hub("test")
    assert time.perf_counter() - start < 5
    assert "\n" not in str(caught.value)
    assert ".jsonl" in str(caught.value)


def test_the_hub_file_is_read_from_the_cache(monkeypatch, tmp_path):
    import huggingface_hub
    import pandas as pd

    path = tmp_path / "snapshots" / "abc123" / "main" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame([CLIPS, {"question": "Q?", "answer": "nothing"}]).to_parquet(path)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **kwargs: str(path))
    problems = load_hub("test")
    assert len(problems) == 1
    assert problems.skipped[0].line == 1
    assert problems.source == {"kind": "hub", "name": "openai/gsm8k", "split": "test", "revision": "abc123"}

    path.write_bytes(b"not parquet")
    with pytest.raises(UserError, match="delete it"):
        load_hub("test")


def test_unknown_hub_splits():
    with pytest.raises(UserError, match="'validation'"):
        load_hub("validation")


def test_importing_loads_nothing_heavy():
    heavy = {"pandas", "numpy", "torch", "datasets", "huggingface_hub"}
    code = f"import sys, sae.problems; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_gsm8k_reexports_what_reads_an_answer():
    assert gsm8k.parse_answer is parse_answer
