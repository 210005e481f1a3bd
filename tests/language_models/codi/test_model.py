"""The CODI model itself: rows that do not know their batch, edits, questions that can't be read, the context's end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.language_models.codi.loading import load
from sae.language_models.codi.model import MAX_NEW_TOKENS, Codi, last_number
from sae.problems import generate
from tests.language_models.codi import published, tiny


@pytest.fixture(scope="module")
def codi() -> Codi:
    return tiny.codi(3)


@pytest.fixture(scope="module")
def ids(codi: Codi) -> list[list[int]]:
    encoded = codi.encode([example.question for example in generate(8, 1).examples])
    assert len({len(row) for row in encoded}) > 3
    return encoded


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def test_a_row_does_not_depend_on_its_batch(codi: Codi, ids: list[list[int]]) -> None:
    together = codi.think(ids, layers=range(3))
    answers = codi.answer(codi.think(ids))
    reasoned = codi.reason(ids)
    for number, row in enumerate(ids):
        alone = codi.think([row], layers=range(3))
        for layer in range(3):
            torch.testing.assert_close(
                together.states[layer][:, number], alone.states[layer][:, 0], rtol=1e-4, atol=1e-4
            )
        torch.testing.assert_close(together.final[:, number], alone.final[:, 0], rtol=1e-4, atol=1e-4)
        for ours, theirs in ((answers, codi.answer(alone)), (reasoned, codi.reason([row]))):
            assert ours[number].ids == theirs[0].ids and ours[number].text == theirs[0].text
            assert ours[number].log_prob == pytest.approx(theirs[0].log_prob, abs=1e-2)


def test_thinking_less_is_the_beginning_of_thinking_more(codi: Codi, ids: list[list[int]]) -> None:
    whole = codi.think(ids, layers=[1])
    for n_thoughts in (0, 1, 4):
        some = codi.think(ids, layers=[1], n_thoughts=n_thoughts)
        assert some.final.shape == (n_thoughts + 1, 8, 32)
        assert torch.equal(some.states[1], whole.states[1][: n_thoughts + 1])
    assert list(whole.states) == [1] and codi.think(ids).states == {}


def test_kept_states_are_raw_and_the_final_ones_are_normed(codi: Codi, ids: list[list[int]]) -> None:
    thinking = codi.think(ids, layers=[2])
    torch.testing.assert_close(codi.final_norm(thinking.states[2]), thinking.final, rtol=1e-5, atol=1e-5)
    assert (thinking.states[2] - thinking.final).abs().max() > 0.1


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_an_edit_changes_its_step_and_what_comes_after(codi: Codi, ids: list[list[int]], layer: int) -> None:
    seen: list[tuple[int, int, torch.Size]] = []

    def edit(step: int, at: int, h: Tensor) -> Tensor:
        seen.append((step, at, h.shape))
        return h + 1 if step == 3 else h

    usual = codi.think(ids, layers=range(3))
    edited = codi.think(ids, layers=range(3), edit=edit, edited_layers=[layer])
    assert seen == [(step, layer, torch.Size([8, 32])) for step in range(7)]
    for other in range(3):
        change = (edited.states[other] - usual.states[other]).abs().amax(-1)
        assert (change[:3] == 0).all()
        # Blocks below the edited one feel it a step later, through the cache and the thought.
        assert (change[3] > 0).all() == (other >= layer)
        assert (change[4:] > 0).all()
    torch.testing.assert_close(edited.states[layer][3], usual.states[layer][3] + 1)
    assert codi.answer(edited)[0].log_prob != codi.answer(usual)[0].log_prob


def test_an_edit_of_the_final_state_goes_into_the_next_thought_alone(codi: Codi, ids: list[list[int]]) -> None:
    usual = codi.think(ids, layers=[0])
    edited = codi.think(ids, layers=[0], edit=lambda step, layer, h: h * (2 if step == 6 else 1), edited_layers=[3])
    assert torch.equal(edited.final[:6], usual.final[:6]) and torch.equal(edited.final[6], 2 * usual.final[6])
    assert torch.equal(edited.states[0], usual.states[0])
    edited = codi.think(
        ids, layers=[0], edit=lambda step, layer, h: h.roll(1, -1) if step < 1 else h, edited_layers=[3]
    )
    assert torch.equal(edited.states[0][0], usual.states[0][0])
    assert ((edited.states[0][1:] - usual.states[0][1:]).abs().amax(-1) > 0).all()


def test_an_edit_that_changes_nothing_changes_nothing(codi: Codi, ids: list[list[int]]) -> None:
    usual = codi.think(ids, layers=[1])
    same = codi.think(ids, layers=[1], edit=lambda step, layer, h: h.clone(), edited_layers=[0, 1, 2])
    assert torch.equal(same.final, usual.final) and torch.equal(same.states[1], usual.states[1])


def test_threads_think_beside_each_other(codi: Codi, ids: list[list[int]]) -> None:
    alone = [codi.think([row], layers=[1]).states[1] for row in ids]
    found: dict[int, Tensor] = {}

    def work(number: int) -> None:
        with torch.inference_mode():
            for _ in range(3):
                found[number] = codi.think([ids[number]], layers=[1]).states[1]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        torch.testing.assert_close(found[number], alone[number], rtol=1e-5, atol=1e-5)


def test_continuing_is_answering_step_by_step(codi: Codi, ids: list[list[int]]) -> None:
    answers = codi.answer(codi.think(ids), max_new_tokens=5)
    written = [list(answer.ids) for answer in answers]
    assert {len(row) for row in written} == {5}
    shares = codi.continue_with(codi.think(ids), written).log_softmax(-1)
    assert shares.shape == (8, 6, codi.eot_id)
    for number, answer in enumerate(answers):
        assert tuple(shares[number, :5].argmax(-1).tolist()) == answer.ids
        scored = sum(float(shares[number, place, token]) for place, token in enumerate(answer.ids))
        assert answer.log_prob == pytest.approx(scored, abs=1e-3)


def test_states_read_as_words(codi: Codi, ids: list[list[int]]) -> None:
    final = codi.think(ids).final[2]
    words, shares = codi.reads_as(final, 4)
    scores = (final @ codi.embeddings.weight[: codi.eot_id].T).softmax(-1)
    for row in range(8):
        order = scores[row].argsort(descending=True)[:4]
        torch.testing.assert_close(shares[row], scores[row][order])
        assert words[row] == [codi.tokenizer.decode([token]) if token < codi.pad_id else "" for token in order]
    extra, _ = codi.reads_as(codi.embeddings.weight[[codi.pad_id, codi.bot_id]] * 1000, 1)
    assert extra == [["<pad>"], ["<bot>"]]


def test_questions_that_cant_be_read(codi: Codi) -> None:
    with pytest.raises(UserError, match=r"question 1 \(counted from 0\) has no words"):
        codi.encode(["3 cups", "  "])
    with pytest.raises(UserError, match=r"question 0 .* has 300 tokens; .* takes 216"):
        codi.encode(["cups " * 300])
    longest = 256 - 6 - 2 - MAX_NEW_TOKENS
    assert len(codi.encode(["cups " * longest])[0]) == longest == codi.room
    with pytest.raises(UserError, match="217 tokens"):
        codi.encode(["cups " * (longest + 1)])
    assert codi.encode([]) == [] == codi.unknown_words([])


def test_unknown_words_are_named(codi: Codi) -> None:
    assert codi.unknown_words(["3 cups", "Zorblax has 100 cups and 99 glims."]) == [[], ["Zorblax", "100", "glims"]]
    assert codi.unknown_words([example.question for example in generate(50, 3).examples]) == [[]] * 50


def test_a_question_is_cleaned_as_in_codis_own_evaluation(tmp_path: Path) -> None:
    codi = load(str(published.write(tmp_path / "m", "llama", published.state("llama"))))
    assert codi.encode([" Ana has  3 apples. "]) == codi.encode(["Ana has 3 apples."])
    assert codi.encode(["Ana"])[0][0] == codi.tokenizer.bos_token_id
    with pytest.raises(UserError, match="no words"):
        codi.encode([""])


@pytest.mark.parametrize("family", published.FAMILIES)
def test_writing_ends_where_the_context_does(family: str, tmp_path: Path) -> None:
    state = published.state(family)
    folder = published.write(tmp_path / "m", family, state)
    config = {**published.CONFIGS[family], "max_position_embeddings": 128}
    if family == "llama":
        (folder / "config.json").write_text(json.dumps(config))
    codi = load(str(folder))
    codi.tokenizer.eos_token = codi.tokenizer.convert_ids_to_tokens(299) or codi.tokenizer.eos_token
    rows = [[5] * 100, [7] * 20]
    long, short = codi.reason(rows, max_new_tokens=40)
    # The last token is chosen at the last place and need not be read again.
    assert len(long.ids) <= 128 - 100 + 1 and len(short.ids) <= 40
    assert codi.reason([rows[1]], max_new_tokens=40)[0].ids == short.ids
    for row in rows:
        thinking = codi.think([row])
        assert len(codi.answer(thinking, max_new_tokens=100)[0].ids) <= 128 - len(row) - 8 + 1


def test_the_last_number_is_read_as_in_codis_own_evaluation() -> None:
    for text, number in (
        ("The answer is: 18", 18),
        ("The answer is: 1,234.50", 1234.5),
        ("5 - 3 = -2.", -2),
        ("so 3/4", 4),
        ("none", None),
        ("", None),
    ):
        assert last_number(text) == number
