"""Problems with known reasoning steps: GSM8K from a file or the hub, a generator in its format; any texts."""

from .concepts import Terms, load_terms, names_terms
from .examples import Example, Note, ProblemSet, Skipped, Step
from .generator import generate
from .gsm8k import from_records, load_hub, parse_answer, read_jsonl, write_jsonl
from .specs import load
from .texts import Document, Texts, names_texts, open_texts

__all__ = [
    "Document",
    "Example",
    "Note",
    "ProblemSet",
    "Skipped",
    "Step",
    "Terms",
    "Texts",
    "from_records",
    "generate",
    "load",
    "load_hub",
    "load_terms",
    "names_terms",
    "names_texts",
    "open_texts",
    "parse_answer",
    "read_jsonl",
    "write_jsonl",
]
