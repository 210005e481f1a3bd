"""First letter: how far features that stand for a word's first letter are absorbed by features of single words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

    from sae.common.progress import Progress
    from sae.evaluation.first_letter.probes import Probe

FIRST_LETTER = Measurement(
    name="first-letter",
    title="First-letter absorption",
    question="Do features of single words take over what a feature of their first letter should say?",
    settings={
        "words": 6000,
        "examples": 10,
        "template": "{word} has the first letter:",
        "test_share": 0.2,
        "min_f1": 0.6,
        "min_letters": 20,
        "f1_jump": 0.03,
        "model": "",
        "resamples": 1000,
        "seed": 0,
    },
    meanings={
        "words": "at most so many of the tokenizer's words, drawn with the seed; 0 takes all",
        "examples": "answered examples before each question",
        "template": "the question; {word} is the word",
        "test_share": "share of the words that absorption is measured on; the others train the probes",
        "min_f1": "letters count whose probe on the model's states has a higher F1",
        "min_letters": "so many such letters are needed: with fewer, the model can't spell",
        "f1_jump": "a letter takes one more feature while its F1 rises by more than this",
        "model": "a language model by name; empty is the one the activations come from",
        "resamples": "of the bootstrap over words",
        "seed": "of words, examples, probes and the bootstrap",
    },
    measure="sae.experiments.first_letter:measure",
)
_SCORES = {
    "absorption_fraction_score": "absorption_fraction",
    "full_absorption_score": "full_absorption_rate",
    "num_split_features": "num_split_features",
}


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """Absorption on the first-letter task (`sae.evaluation.first_letter`), means over the letters that the model knows.

    Where too few letters have a probe that reaches `min_f1` there are no results, and the note `cannot` says so.
    Table `letters`: a line a letter.

    Raises:
        UserError: if the activations are not states of a language model that reads text, or a setting is out of range.
    """
    from sae.experiments import reading

    layer = _check(case, settings)
    model = reading.language_model_of(case, settings["model"], progress)
    if case.model.d_in != model.d_model:
        raise UserError(
            f"this SAE reads rows of {case.model.d_in:,} dimensions, the model's states have {model.d_model:,}"
        )
    x, letters, test = _words(model, layer, settings, progress)
    probe, f1 = _probe(x, letters, test, settings["seed"])
    known = f1 > settings["min_f1"]
    notes: dict[str, Any] = {
        "behaviour": reading.model_notes(model.source),
        "layer": layer,
        "n_words": len(letters),
        "n_test": int(test.sum()),
        "letters_known": int(known.sum()),
        "settings": settings,
    }
    if notes["letters_known"] < settings["min_letters"]:
        notes["cannot"] = (
            f"this model can't spell: {notes['letters_known']} letters with probe F1 > {settings['min_f1']:g}, "
            f"{settings['min_letters']} needed"
        )
        return Measured([], {"letters": _table(letters, test, f1, known)}, notes)
    codes = _codes(case, x)
    table, draws = _absorption(case, x, codes, letters, test, probe, f1, known, settings, progress)
    metrics, intervals, saebench = _means(table[table["counted"]], draws, settings)
    metrics |= {"letters_known": float(known.sum()), "probe_f1": float(f1[known].mean())}
    notes |= {
        "saebench": saebench,
        "saebench_config": {"random_seed": settings["seed"], "f1_jump_threshold": settings["f1_jump"],
                            "prompt_template": settings["template"], "min_GT_probe_f1": settings["min_f1"],
                            "min_feats_for_eval": settings["min_letters"]},
        "saebench_details": _details(table[table["counted"]]),
    }  # fmt: skip
    found = {"split": "words", "metrics": metrics, "interval": intervals, "n": int(table["true_positives"].sum())}
    return Measured([found], {"letters": table}, notes)


def _check(case: Case, settings: dict[str, Any]) -> int:
    """The layer whose states are probed."""
    for name, least in (("words", 0), ("examples", 0), ("min_letters", 1), ("resamples", 1)):
        if settings[name] < least:
            raise UserError(f"{name} {settings[name]} must be at least {least}")
    if not 0 < settings["test_share"] < 1:
        raise UserError(f"test_share {settings['test_share']} must lie between 0 and 1")
    manifest, name = case.activations.manifest, case.activations.name
    if manifest.get("positions") in ("thoughts", "pooled") or case.slice.layer is None:
        raise UserError(f"{name!r} are not the states of a language model at a layer: it can't be asked for letters")
    if not settings["model"] and not (manifest.get("model") or {}).get("name"):
        raise UserError(f"{name!r} does not say which model its rows come from: name it with the setting model")
    return case.slice.layer


def _words(
    model: Any, layer: int, settings: dict[str, Any], progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States [n, d_model], letters [n] and which words are for testing [n]; examples come from a word's own half."""
    from sae.evaluation.first_letter import prompts
    from sae.experiments.texts import drawn

    words = prompts.words_of(model.tokenizer)
    if len(words) < 100:
        raise UserError(f"this model's tokenizer has {len(words)} words of letters alone: too few to ask for letters")
    words = [words[place] for place in drawn(len(words), settings["words"], settings["seed"])]
    n_train = len(words) - max(1, round(settings["test_share"] * len(words)))
    asked = []
    for number, half in enumerate((words[:n_train], words[n_train:])):
        asked += prompts.prompts(half, half, settings["examples"], settings["template"], settings["seed"] + number)
    x = prompts.states(
        model, layer, asked, lambda done: progress.update(done, len(asked), "reading words")
    )  # fmt: skip
    letters = np.array([prompts.letter_of(word) for word in words])
    return x, letters, np.arange(len(words)) >= n_train


def _probe(x: np.ndarray, letters: np.ndarray, test: np.ndarray, seed: int) -> tuple[Probe, np.ndarray]:
    import torch

    from sae.evaluation.first_letter.probes import f1_of, train

    rows = torch.from_numpy(x[~test])
    probe = train(
        lambda numbers: rows[numbers], x.shape[1], letters[~test], batch=64, weight_decay=1e-4, seed=seed
    )  # fmt: skip
    return probe, f1_of(letters[test], probe.scores(x[test]))


def _codes(case: Case, x: np.ndarray) -> csr_matrix:
    """Feature activations [n, d_sae] in units of unit decoder directions."""
    from scipy.sparse import csr_matrix

    from sae.evaluation.reconstruction import encode_rows
    from sae.models.units import decoder_norms

    codes, _ = encode_rows(case.model, x, np.zeros(x.shape[1]), case.device)
    found = csr_matrix((codes.values, codes.features, codes.indptr), shape=(len(x), case.model.d_sae))
    return (found @ _diagonal(decoder_norms(case.model).cpu().numpy())).tocsr()


def _diagonal(values: np.ndarray) -> Any:
    from scipy.sparse import diags

    return diags(values)


def _absorption(
    case: Case,
    x: np.ndarray,
    codes: csr_matrix,
    letters: np.ndarray,
    test: np.ndarray,
    probe: Probe,
    f1: np.ndarray,
    known: np.ndarray,
    settings: dict[str, Any],
    progress: Progress,
) -> tuple[pd.DataFrame, dict[int, tuple[np.ndarray, np.ndarray]]]:
    """A line a letter, and of each counted letter the absorption fraction and full absorption of its words."""
    from sae.evaluation.first_letter.absorption import absorbed
    from sae.evaluation.first_letter.probes import main_features

    main, reached = main_features(
        codes[~test], letters[~test], codes[test], letters[test], jump=settings["f1_jump"], seed=settings["seed"],
        tick=lambda letter: progress.update(letter, 26, "features of letters"),
    )  # fmt: skip
    decoder = case.model.W_dec.detach().cpu().numpy()
    scores = probe.scores(x)
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for letter in np.flatnonzero(known):
        rows = np.flatnonzero(test & (letters == letter) & (scores[:, letter] > 0))
        if len(rows):
            result = absorbed(x[rows], codes[rows].toarray(), probe.weights[letter], decoder, main[letter])
            found[int(letter)] = (result.fraction, result.full.astype(float))
    table = _table(letters, test, f1, known)
    table["counted"] = [letter in found for letter in range(len(table))]
    table["true_positives"] = [len(found[letter][0]) if letter in found else 0 for letter in range(len(table))]
    table["features"] = [" ".join(map(str, main[letter])) for letter in range(len(table))]
    table["num_split_features"] = [len(main[letter]) for letter in range(len(table))]
    table["feature_f1"] = reached
    for place, name in enumerate(("absorption_fraction", "full_absorption_rate")):
        table[name] = [found[letter][place].mean() if letter in found else np.nan for letter in range(len(table))]
    return table, found


def _table(letters: np.ndarray, test: np.ndarray, f1: np.ndarray, known: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    from sae.evaluation.first_letter.prompts import LETTERS

    return pd.DataFrame(
        {
            "letter": list(LETTERS),
            "words": np.bincount(letters, minlength=len(LETTERS)),
            "test_words": np.bincount(letters[test], minlength=len(LETTERS)),
            "probe_f1": f1,
            "known": known,
        }
    )


def _means(
    table: pd.DataFrame, words: dict[int, tuple[np.ndarray, np.ndarray]], settings: dict[str, Any]
) -> tuple[dict[str, float], dict[str, tuple[float, float]], dict[str, float]]:
    """Means over letters, ours with intervals over words within each letter, and SAEBench's names."""
    from sae.evaluation.bootstrap import drawn_weights, interval

    metrics = {f"mean_{name}": float(table[column].mean()) for name, column in _SCORES.items()}
    saebench = metrics | {f"std_dev_{name}": float(table[column].std(ddof=1)) for name, column in _SCORES.items()}
    intervals = {}
    for place, name in enumerate(list(_SCORES)[:2]):
        draws = []
        for letter, values in words.items():
            weights = np.concatenate(
                list(drawn_weights(len(values[place]), settings["resamples"], settings["seed"] + letter))
            )
            draws.append(weights @ values[place] / len(values[place]))
        intervals[f"mean_{name}"] = interval(np.mean(draws, axis=0))
    return metrics, intervals, saebench


def _details(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "first_letter": line["letter"],
            "mean_absorption_fraction": line["absorption_fraction"],
            "full_absorption_rate": line["full_absorption_rate"],
            "num_full_absorption": round(line["full_absorption_rate"] * line["true_positives"]),
            "num_probe_true_positives": line["true_positives"],
            "num_split_features": line["num_split_features"],
        }
        for line in table.to_dict("records")
    ]
