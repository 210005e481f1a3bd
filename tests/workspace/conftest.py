"""Fixtures: a workspace with rows in it, and supervisors that are gone when the test is."""

import pytest

from sae.workspace import Workspace
from tests.workspace.helpers import SupervisorProcess, put_activations


@pytest.fixture
def filled(tmp_path):
    """A workspace with 600 rows of 24 dimensions under the name `rows`."""
    workspace = Workspace(tmp_path / "w")
    put_activations(workspace)
    return workspace


@pytest.fixture
def supervisor():
    started = []

    def start(workspace, *options):
        started.append(SupervisorProcess(workspace, *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()
        if one.process.stderr:
            one.process.stderr.close()
