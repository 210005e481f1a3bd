"""What published documents claim, number by number, held against arithmetic and against what was measured
here.

A document is one JSON file in `data/claims`: its own tables and constants, and its claims, each with the
document's words, its number, its formula, how we compute ours, and the check that gives the verdict.
Another document is another file; a check that none of the existing ones can do is a function in `checks`
and one line in its registry.
"""

from sae.analysis.claims.documents import Claim, Document, load, load_all
from sae.analysis.claims.evaluate import evaluate
from sae.analysis.claims.finding import VERDICTS, Finding
from sae.analysis.claims.measured import Measured

__all__ = ["VERDICTS", "Claim", "Document", "Finding", "Measured", "evaluate", "load", "load_all"]
