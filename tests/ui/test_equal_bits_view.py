"""The panel on equal bits: drawn where something was measured, silent elsewhere."""

import pytest
from streamlit.testing.v1 import AppTest

from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.measurements import measure_runs
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bits")
    workspace = Workspace(folder / "w")
    put_activations(workspace, n=200)
    train_grid(workspace, folder / "grid", k=(2, 4), d_sae=(16,))
    train_grid(workspace, folder / "other", "other", k=(2,), d_sae=(16,))
    settings = {"queries": 20, "neighbours": 5}
    spec = {"kind": "equal-bits", "name": "measured", "source": "grid", "runs": [], "settings": settings}
    measure_runs(workspace, spec, "cpu", JobProgress(folder))
    return str(workspace.root)


def shown(root, name):
    def script(root, name):
        from sae.ui import equal_bits_view
        from sae.workspace import Workspace

        workspace = Workspace.at(root)
        equal_bits_view.show(workspace, workspace.experiment(name))

    app = AppTest.from_function(script, default_timeout=60, args=(root, name)).run()
    assert not app.exception and not app.error
    return app


def test_two_figures_with_their_numbers(root):
    app = shown(root, "grid")
    text = "\n".join(element.value for element in [*app.markdown, *app.caption])
    for said in ("At equal bits", "What is lost", "Nearest 5 rows found", "n = 40 validation rows", "20 queries"):
        assert said in text.replace("\\", ""), said
    assert len(app.get("plotly_chart")) == 2


def test_nothing_where_nothing_was_measured(root):
    app = shown(root, "other")
    assert not app.markdown and not app.get("plotly_chart")
