"""Activations on disk: a memory-mapped array with what each row is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import read_json
from sae.common.lazily import lazily

from . import conventions
from .npy import open_npy

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
#: What a manifest's `values` says where the array did not come along.
LEFT_OUT = "left out"
_NUMBERS = ("n_rows", "d_in", "n_examples")


class Activations:
    """The activations in a folder; opening reads the manifest and the files' headers, not their content.

    Attributes:
        folder: where they stand.
        manifest: what manifest.json says (DESIGN, section 4).

    Raises:
        UserError: if files are missing or damaged, or don't fit together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = read_json(self.folder / "manifest.json")
        self._check()

    @classmethod
    def open(cls, folder: Path) -> Activations:
        return cls(folder)

    def __repr__(self) -> str:
        return f"Activations({self.name!r}, {self.n_rows} rows of {self.d_in}, {len(self.slices)} slices)"

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def n_rows(self) -> int:
        return self.manifest["n_rows"]

    @property
    def d_in(self) -> int:
        return self.manifest["d_in"]

    @property
    def n_examples(self) -> int:
        return self.manifest["n_examples"]

    @property
    def is_thoughts(self) -> bool:
        """Whether rows are steps of a thinking model: then `position` is the step (see `conventions`)."""
        return self.manifest.get("positions") == "thoughts"

    @property
    def has_values(self) -> bool:
        """False for what came in a bundle without its array: rows and examples are there, hidden states are not."""
        return self.manifest.get("values") != LEFT_OUT or (self.folder / "activations.npy").exists()

    @lazily
    def array(self) -> np.ndarray:
        """[n_rows, d_in], float16 or float32, memory-mapped and read-only. Raises UserError if it was left out."""
        if not self.has_values:
            raise UserError(
                f"activations {self.name!r} came in a bundle without their values: ask who sent it for activations.npy "
                f"(SHA-256 {str(self.manifest.get('sha256'))[:16]}...), or for a bundle that has them"
            )
        return open_npy(self.folder / "activations.npy")

    @lazily
    def rows(self) -> pd.DataFrame:
        """One line a row: `example`, `split`, and `layer`, `position`, `token`, `char_start`, `char_end` if known."""
        return _read_table(self.folder / "rows.parquet", self.n_rows)

    @lazily
    def examples(self) -> pd.DataFrame:
        """One line an example; `rows.example` counts its lines from 0."""
        return _read_table(self.folder / "examples.parquet", self.n_examples)

    @lazily
    def slices(self) -> list[Slice]:
        return [Slice(self, s["layer"], s["position"], s["start"], s["stop"]) for s in self.manifest["slices"]]

    def slice(self, layer: int | None = None, position: int | None = None) -> Slice:
        """The one slice of that layer and position; either may be left out where that is not ambiguous.

        Raises:
            UserError: if none or several fit, naming what there is.
        """
        fitting = [s for s in self.slices if layer in (None, s.layer) and position in (None, s.position)]
        if len(fitting) == 1:
            return fitting[0]
        asked = [f"layer {layer}"] if layer is not None else []
        asked += [f"position {position}"] if position is not None else []
        what = f"{self.name!r} has no {', '.join(asked)}" if not fitting else f"{self.name!r} has {len(fitting)} slices"
        here = "; ".join(s.title for s in self.slices[:12]) + ("; ..." if len(self.slices) > 12 else "")
        raise UserError(f"{what}: choose one of {here}")

    def example(self, number: int) -> dict[str, Any]:
        """One line of `examples` by column; cell by cell, in less than half of the time that `examples.iloc` takes."""
        return {name: column[number] for name, column in self._example_columns.items()}

    @lazily
    def _example_columns(self) -> dict[str, Any]:
        return {str(name): self.examples[name].array for name in self.examples.columns}

    def text(self, example: int) -> str:
        """The text that the tokens of an example came from; empty if none came with the activations."""
        if "question" not in self.examples:
            return ""
        row = self.example(example)
        return example_text(row["question"], row.get("answer"), self.manifest.get("text"))

    def _check(self) -> None:
        where, manifest = self.folder / "manifest.json", self.manifest
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise UserError(f"{where} does not describe activations of format {FORMAT}: capture or import them again")
        for key in _NUMBERS:
            if not isinstance(manifest.get(key), int) or isinstance(manifest[key], bool) or manifest[key] < 1:
                raise UserError(f"{where} has {key} {manifest.get(key)!r}, which must be a whole number from 1 on")
        expected = (manifest["n_rows"], manifest["d_in"])
        if not self.has_values:
            if manifest.get("dtype") not in ("float16", "float32"):
                raise UserError(f"{where} has dtype {manifest.get('dtype')!r}, which must be float16 or float32")
        elif self.array.shape != expected:
            raise UserError(
                f"{self.folder / 'activations.npy'} has shape {self.array.shape}, its manifest says {expected}"
            )
        elif self.array.dtype not in (np.float16, np.float32) or self.array.dtype.name != manifest.get("dtype"):
            stored = self.array.dtype
            raise UserError(
                f"{self.folder / 'activations.npy'} holds {stored}, its manifest says {manifest.get('dtype')!r}"
            )
        _check_slices(where, manifest)
        _check_table(self.folder / "rows.parquet", manifest["n_rows"], ("example", "split"))
        _check_table(self.folder / "examples.parquet", manifest["n_examples"], ())


@dataclass(frozen=True, eq=False)
class Slice:
    """The rows of one layer and one position, which one SAE is trained on: `start` to `stop` of the array."""

    activations: Activations
    layer: int | None
    position: int | None
    start: int
    stop: int

    @property
    def x(self) -> np.ndarray:
        """[n, d_in], memory-mapped and read-only."""
        return self.activations.array[self.start : self.stop]

    @lazily
    def rows(self) -> pd.DataFrame:
        """What each of the n rows is, counted from 0 within the slice."""
        return self.activations.rows.iloc[self.start : self.stop].reset_index(drop=True)

    def partner(self, layer: int | None, position: int | None) -> Slice:
        """The slice of that layer and position, whose rows are of the same examples in the same order.

        Raises:
            UserError: if there is none, or its rows are of other examples.
        """
        other = self.activations.slice(layer, position)
        for column in ("example", "split"):
            if not np.array_equal(self.rows[column].to_numpy(), other.rows[column].to_numpy()):
                raise UserError(f"{self.title} and {other.title} of {self.activations.name!r} hold different examples")
        return other

    @property
    def layer_words(self) -> str:
        """`layer 9`; empty where rows are of none."""
        return "" if self.layer is None else f"layer {self.layer}"

    @property
    def title(self) -> str:
        """For people: `layer 9`, `layer 14, position 3`, `layer 2, position 3 (z3)` for a thought, `all rows`."""
        if self.activations.is_thoughts and self.layer is not None and self.position is not None:
            return conventions.slice_title(self.layer, self.position)
        words = [self.layer_words] if self.layer_words else []
        words += [f"position {self.position}"] if self.position is not None else []
        return ", ".join(words) or "all rows"

    @property
    def key(self) -> str:
        """For file names: `L9`, `L14P3`, `all`."""
        layer = "" if self.layer is None else f"L{self.layer}"
        return layer + ("" if self.position is None else f"P{self.position}") or "all"

    @property
    def train_rows(self) -> np.ndarray:
        """Row numbers within the slice, ascending."""
        return self._of("train")

    @property
    def validation_rows(self) -> np.ndarray:
        return self._of("validation")

    @property
    def test_rows(self) -> np.ndarray:
        return self._of("test")

    def _of(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.rows["split"].to_numpy() == split)


def example_text(question: Any, answer: Any, text: str | None) -> str:
    """What is read of an example: its question, or for `question+answer` its question, a line break and its answer."""
    return f"{question}\n{answer}" if text == "question+answer" else str(question)


def list_slices(folder: Path) -> list[dict[str, Any]]:
    """`layer`, `position`, `title`, `key` and `n_rows` of each slice, for pickers; reads only headers.

    Raises:
        UserError: as `Activations.open`.
    """
    return [
        {"layer": s.layer, "position": s.position, "title": s.title, "key": s.key, "n_rows": s.stop - s.start}
        for s in Activations.open(folder).slices
    ]


def _check_slices(where: Path, manifest: dict[str, Any]) -> None:
    """Slices must follow one another, cover all rows, and have names of their own."""
    slices, reached, seen = manifest.get("slices"), 0, set()
    try:
        for piece in slices or []:
            name = (piece["layer"], piece["position"])
            if piece["start"] != reached or not reached < piece["stop"] <= manifest["n_rows"] or name in seen:
                raise ValueError
            reached = piece["stop"]
            seen.add(name)
        if reached != manifest["n_rows"]:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{where}: its slices don't cover the {manifest['n_rows']:,} rows one after another") from None


def _check_table(path: Path, lines: int, columns: tuple[str, ...]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(path)
        names = set(footer.schema.to_arrow_schema().names)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} can't be read ({error})") from None
    if footer.num_rows != lines:
        raise UserError(f"{path} has {footer.num_rows:,} lines, its manifest says {lines:,}")
    if lacking := [column for column in columns if column not in names]:
        raise UserError(f"{path} has no column {lacking[0]!r}")


def _read_table(path: Path, lines: int) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        table = pd.read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} can't be read ({error})") from None
    if len(table) != lines:
        raise UserError(f"{path} has {len(table):,} lines, its manifest says {lines:,}")
    return table
