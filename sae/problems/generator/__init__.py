"""Problems of our own in GSM8K's format: small integers, known structure, and parts that can be held out."""

from .engine import generate
from .splits import HELD_OUT_TEMPLATES
from .themes import TEMPLATES

__all__ = ["HELD_OUT_TEMPLATES", "TEMPLATES", "generate"]
