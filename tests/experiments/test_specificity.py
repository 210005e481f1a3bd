"""The measurement `specificity` of one run: what it reports is what the tables say."""

import numpy as np
import pandas as pd
import pytest

from sae.analysis.codes import FeatureActivations
from sae.common.errors import UserError
from sae.common.progress import Silent
from sae.experiments import measurement_of
from sae.experiments.measurement import Case


class Rows:
    """As much of a slice, and of activations, as is read."""

    def __init__(self, examples, owner):
        self.examples, self.rows = examples, pd.DataFrame({"example": owner})


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    theme = rng.choice(["shop", "farm", "school"], 500)
    examples = pd.DataFrame({"theme": theme, "n_steps": rng.integers(1, 4, 500)})
    owner = np.repeat(np.arange(500), 2)
    x = (rng.random((1000, 10)) < 0.1).astype(np.float32)
    x[:, 0] = 0
    x[:, 1] *= (theme == "shop")[owner]
    x[:, 2] = (theme == "farm")[owner]
    known = Rows(examples, owner)
    return Case("run", {"k": 4}, None, FeatureActivations.from_dense(x), known, known, None, "cpu")  # type: ignore[arg-type]


def test_results_are_what_the_tables_say(case):
    kind = measurement_of("specificity")
    measured = kind.of(case, kind.settings_of({}), Silent())
    (result,) = measured.results
    features, metrics = measured.tables["features"], result["metrics"]
    assert result["split"] == "all" and result["n"] == 500
    assert features.set_index("feature").loc[[1, 2], "label"].tolist() == ["theme shop", "theme farm"]
    confirmed = features[features["confirmed"]]
    assert metrics["features_living"] == 9
    assert metrics["confirmed"] == pytest.approx(len(confirmed) / 9)
    assert metrics["median_f1"] == pytest.approx(confirmed["heldout_f1"].median())
    assert metrics["confirmed_theme"] + metrics["confirmed_number_of_steps"] == len(confirmed)
    assert measured.notes["n_confirmed"] == measured.tables["findings"]["confirmed"].sum()
    assert set(measured.tables["labels"]["family"]) == {"theme", "number of steps"}


def test_settings_are_taken(case):
    kind = measurement_of("specificity")
    strict = kind.of(case, kind.settings_of({"least_active": "400"}), Silent())
    assert strict.results[0]["metrics"]["features_tested"] == 0
    assert np.isnan(strict.results[0]["metrics"]["median_f1"])
    with pytest.raises(UserError, match="false discovery rate"):
        kind.of(case, kind.settings_of({"alpha": 0.0}), Silent())
