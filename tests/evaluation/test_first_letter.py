"""The first-letter task: its words and prompts, its probes, and that a planted absorption is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from sae.common.errors import UserError
from sae.evaluation.first_letter import prompts
from sae.evaluation.first_letter.absorption import absorbed
from sae.evaluation.first_letter.probes import f1_of, main_features, train
from sae.language_models import load
from tests.language_models.tiny import make


def test_prompts_ask_for_other_words_first() -> None:
    pool = [f"{a}{b}{c}" for a in "abc" for b in "xyz" for c in (" ", "")]
    pool = sorted({word.strip() for word in pool})
    found = prompts.prompts(pool, pool, 4, "{word} has the first letter:", 0)
    for word, prompt in zip(pool, found, strict=True):
        lines = prompt.text.split("\n")
        assert lines[0] == "" and len(lines) == 6 and lines[-1] == f"{word} has the first letter:"
        for line in lines[1:-1]:
            other = line.split(" ")[0]
            assert other != word and line == f"{other} has the first letter: {other[0].upper()}"
        assert prompt.text[: prompt.at + 1].endswith(f"\n{word}")
    assert found == prompts.prompts(pool, pool, 4, "{word} has the first letter:", 0)
    with pytest.raises(UserError, match="too few for 9 examples"):
        prompts.prompts(pool, pool, 9, "{word}:", 0)
    with pytest.raises(UserError, match="must have {word} once"):
        prompts.prompts(pool, pool, 2, "word:", 0)


def test_states_are_those_of_the_word(tmp_path: Path) -> None:
    model = load(str(make(tmp_path / "tiny")))
    words = prompts.words_of(model.tokenizer)
    assert {"a", " have", "apples"} & set(words) and all(word.strip().isalpha() for word in words)
    asked = prompts.prompts(words[:5], words, 2, "{word}:", 0)
    found = prompts.states(model, 1, asked)
    for prompt, state in zip(asked, found, strict=True):
        (tokens,) = model.tokenize([prompt.text[: prompt.at + 1]])
        ids = torch.tensor([tokens.ids])
        alone = model.hidden_states(ids, torch.ones_like(ids), [1])[1][0, -1]
        np.testing.assert_allclose(state, alone.numpy(), rtol=1e-3, atol=1e-3)


def planted(n: int = 900, d: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """States that hold their letter, and codes of 80 features: j stands for letter j, but for the words of letter 0
    that feature 60 takes; features from 40 on fire at random."""
    generator = np.random.default_rng(0)
    letters = generator.integers(0, 6, n)
    directions = np.linalg.qr(generator.normal(size=(d, d)))[0]
    codes = np.zeros((n, 80))
    codes[np.arange(n), letters] = 3
    taken = (letters == 0) & (generator.random(n) < 0.3)
    codes[taken, 0], codes[taken, 60] = 0, 3
    codes[np.arange(n), 40 + generator.integers(0, 20, n)] = 1
    decoder = directions[generator.integers(10, d, 80)]
    decoder[:6] = directions[:6]
    decoder[60] = directions[0] + 0.5 * directions[9]
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    x = codes @ decoder + 0.05 * generator.normal(size=(n, d))
    return x.astype(np.float32), codes.astype(np.float32), decoder, letters


def test_a_planted_absorption_is_found() -> None:
    x, codes, decoder, letters = planted()
    test = np.arange(len(x)) >= 700
    rows = torch.from_numpy(x[~test])
    probe = train(lambda numbers: rows[numbers], x.shape[1], letters[~test], batch=64, weight_decay=1e-4, seed=0)
    f1 = f1_of(letters[test], probe.scores(x[test]))
    assert (f1[:6] > 0.95).all() and (f1[6:] == 0).all()
    again = train(lambda numbers: rows[numbers], x.shape[1], letters[~test], batch=64, weight_decay=1e-4, seed=0)
    np.testing.assert_array_equal(probe.weights, again.weights)
    sparse = csr_matrix(codes)
    main, reached = main_features(sparse[~test], letters[~test], sparse[test], letters[test], seed=0)
    assert [found[0] for found in main[1:6]] == [1, 2, 3, 4, 5] and (reached[1:6] > 0.95).all()
    assert set(main[0]) == {0, 60}  # the letter takes the second feature too: its F1 rises
    rows_of_a = np.flatnonzero(test & (letters == 0))
    found = absorbed(x[rows_of_a], codes[rows_of_a], probe.weights[0], decoder, [0])
    taken = codes[rows_of_a, 60] > 0
    np.testing.assert_array_equal(found.full, taken)
    np.testing.assert_array_equal(found.fraction, taken.astype(float))


def test_f1_is_sklearns() -> None:
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(1)
    letters, scores = generator.integers(0, 26, 300), generator.normal(size=(300, 26))
    expected = [f1_score(letters == letter, scores[:, letter] > 0) for letter in range(26)]
    np.testing.assert_allclose(f1_of(letters, scores), expected)
