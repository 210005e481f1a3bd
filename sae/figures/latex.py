"""A table as LaTeX, with the rules of the booktabs package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "–": "--",
    "<": "$<$", ">": "$>$", "|": r"$|$",
}  # fmt: skip


def latex_text(value: object) -> str:
    """`value` so that LaTeX prints it as it stands."""
    return re.sub(r"[\\&%$#_{}~^±×−–<>|]", lambda found: _SPECIAL[found.group()], str(value))


def latex_table(table: pd.DataFrame, caption: str = "") -> str:
    """A `table` environment, its first column to the left and the others to the right; needs \\usepackage{booktabs}."""

    def line(cells: object) -> str:
        return " & ".join(latex_text(cell) for cell in cells) + r" \\"  # type: ignore[attr-defined]

    body = [line(row) for row in table.itertuples(index=False)]
    columns = "l" + "r" * (table.shape[1] - 1)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            *([rf"\caption{{{latex_text(caption)}}}"] if caption else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            line(table.columns),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
