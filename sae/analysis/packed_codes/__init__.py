"""Sparse binary codes: kept as packed bits or index lists, what that takes, exact search, recall against cosine."""

from .codes import BinaryCodes
from .recall import cosine_top, recall_at
from .search import CodeIndex
from .storage import storage_bits

__all__ = ["BinaryCodes", "CodeIndex", "cosine_top", "recall_at", "storage_bits"]
