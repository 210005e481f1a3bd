"""The workspace: what stands on disk, its index, and the jobs that fill it. Importing it does not import torch."""

from sae.workspace.folder import Workspace

__all__ = ["Workspace"]
