"""The Claims page: what stands without an experiment, what one adds, filters and choices in the address."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from sae.workspace import Workspace
from tests.workspace import ablations
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations
from tests.workspace.made import copy_of


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("claims")
    workspace = Workspace(root / "w")
    put_activations(workspace)
    train_grid(workspace, root / "job", presets=("corrected", "published"))
    return workspace


def opened(repository: Path, **address: str | list[str]) -> AppTest:
    app = AppTest.from_file(str(repository / "app.py"), default_timeout=60)
    for name, value in address.items():
        app.query_params[name] = value
    app.switch_page("pages/claims.py")
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def said(app: AppTest) -> str:
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.warning, *app.error])


def listed(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["id"])


def test_without_an_experiment_the_reports_own_arithmetic_stands(workspace: Path, repository: Path) -> None:
    app = opened(repository)
    assert app.title[0].value == "Claims"
    assert "No experiment to hold them against yet" in said(app)
    lines = app.dataframe[0].value.set_index("id")
    assert lines.loc["all-pareto", "verdict"] == "refuted" and lines.loc["all-pareto", "value"] == "4 of 12"
    assert lines.loc["all-pareto-here", "verdict"] == "not measured yet"


def test_an_experiment_gives_its_numbers(trained: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAE_WORKSPACE", str(trained.root))
    app = opened(repository, experiment="grid", claim="exact-sparsity")
    lines = app.dataframe[0].value.set_index("id")
    assert lines.loc["all-pareto-here", "value"].endswith("of 4")
    assert lines.loc["exact-sparsity", "verdict"] == "reproduced"
    assert "levels are shown and not judged" in said(app)
    assert "enforcing exact K" in said(app).replace("\\", "")  # the claim that the address names is open
    corrected = opened(repository, experiment="grid", preset="corrected").dataframe[0].value.set_index("id")
    assert corrected.loc["unit-norm-here", "verdict"] == "reproduced"
    assert lines.loc["unit-norm-here", "verdict"] == "refuted"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            {"verdict": ["refuted"], "evidence": "its own numbers"},
            {"all-pareto", "active-k100", "death-formula", "total-time"}
            | {"l2-range", "penalty-share", "schedule-end", "cosine-improved", "absorption-improved"}
            | {"probing-improved", "reconstruction-kept", "steps", "tau-adapts", "protection"},
        ),
        ({"section": "4.1"}, {"recommended-agree", "guide-74", "guide-357", "guide-memory"}),
        ({"search": "magnitude, zero rest"}, {"magnitude"}),
    ],
)
def test_filters_stand_in_the_address(workspace: Path, repository: Path, address: dict, expected: set[str]) -> None:
    assert set(listed(opened(repository, **address))) == expected


def test_no_claim_left_is_said(workspace: Path, repository: Path) -> None:
    app = opened(repository, search="no such words anywhere")
    assert not app.dataframe and "No claim passes" in app.info[0].value


@pytest.mark.parametrize("source", ["document", "measured"])
def test_three_figures(trained: Workspace, repository: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setenv("SAE_WORKSPACE", str(trained.root))
    app = opened(repository, experiment="grid", view="figures", source=source)
    text = said(app)
    assert "configurations are dominated by none" in text.replace("\\", "")
    assert ("4 of 12" in text.replace("\\", "")) == (source == "document")
    assert "Death formula against measured death" in text and "What explained variance varies with" in text
    assert not app.error


def test_an_address_that_asks_for_what_is_not_here_shows_something(workspace: Path, repository: Path) -> None:
    app = opened(repository, section="99", claim="no-such-claim", verdict=["perhaps"])
    assert len(listed(app)) > 100 and "99" in said(app)


def test_claims_of_another_kind_have_no_figures_of_a_grid(workspace: Path, repository: Path) -> None:
    lines = opened(repository).dataframe[0].value.set_index("id")
    assert lines.loc["improved-reconstruction", "verdict"] == "not measured yet"
    assert lines.loc["gradient-all", "evidence"] == "its text"


def test_an_ablation_is_evidence_for_its_documents(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy_of(ablations.make, tmp_path / "workspace")
    monkeypatch.setenv("SAE_WORKSPACE", str(workspace.root))
    app = opened(repository, experiment="alpha", view="figures", claim="alpha-count")
    lines = app.dataframe[0].value.set_index("id")
    assert lines.loc["alpha-count", "value"].endswith("of 2 steps")
    assert lines.loc["no-dead", "verdict"] in ("reproduced", "differs", "refuted")  # of `sizes`, on the same rows
    assert lines.loc["improved-reconstruction", "verdict"] == "not testable here"  # one seed
    assert lines.loc["round-removed", "verdict"] == "not measured yet"
    assert lines.loc["all-pareto-here", "verdict"] == "not measured yet"
