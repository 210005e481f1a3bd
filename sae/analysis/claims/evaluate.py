"""Every claim of some documents as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sae.analysis.claims.checks import CHECKS
from sae.analysis.claims.documents import EVIDENCE, Document
from sae.analysis.claims.finding import UNTESTABLE, Finding
from sae.analysis.claims.measured import Measured
from sae.common.errors import UserError

COLUMNS = [
    "id",
    "document",
    "section",
    "words",
    "says",
    "formula",
    "ours",
    "rule",
    "evidence",
    "value",
    "low",
    "high",
    "n",
    "verdict",
    "reason",
    "also",
    "number",
    "claimed",
    "page",
    "query",
    "run",
]


def evaluate(documents: Sequence[Document], measured: Mapping[str, Measured] | None = None) -> pd.DataFrame:
    """One line a claim, in the documents' order.

    Args:
        measured: what to hold a document against, by the document's id; those without one have their own arithmetic.

    Returns:
        id, document (title), section, words, says, formula, ours, rule, evidence (in words), value (ours, in words),
        low, high (95 % interval of `number`), n, verdict, reason, also, number (ours), claimed (the document's), page,
        query (the page's choices), run.
    """
    lines = []
    for document in documents:
        chosen = (measured or {}).get(document.id)
        for claim in document.claims:
            try:
                found = CHECKS[claim.check](claim, document, chosen)
            except UserError as error:  # what the tables can't answer, such as a grid of one cell
                found = Finding(UNTESTABLE, reason=str(error))
            run = found.run
            fields = {"experiment": found.experiment or chosen.experiment, "preset": chosen.preset} if chosen else {}
            page, query = _link(claim.page, claim.query, {**fields, "run": run})
            lines.append(
                {
                    "id": claim.id,
                    "document": document.title,
                    "section": claim.section,
                    "words": claim.words,
                    "says": claim.says,
                    "formula": claim.formula,
                    "ours": claim.ours,
                    "rule": claim.rule,
                    "evidence": EVIDENCE[claim.evidence],
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "n": found.n,
                    "verdict": found.verdict,
                    "reason": found.reason,
                    "also": found.also,
                    "number": found.number,
                    "claimed": claim.number,
                    "page": page,
                    "query": query,
                    "run": run,
                }
            )
    return pd.DataFrame(lines, columns=COLUMNS)


def _link(
    page: str | None, query: Mapping[str, Any], fields: Mapping[str, str | None]
) -> tuple[str | None, dict[str, Any]]:
    """The page of a claim's evidence with its choices filled in; none while a choice that it needs is not there."""
    filled = {}
    for name, item in query.items():
        value = fields.get(item.strip("{}")) if isinstance(item, str) and item.startswith("{") else item
        if value is None:
            return None, {}
        filled[name] = value
    return page, filled
