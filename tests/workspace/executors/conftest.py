"""The fixtures of the workspace's tests serve here too."""

from tests.workspace.conftest import filled, supervisor

__all__ = ["filled", "supervisor"]
