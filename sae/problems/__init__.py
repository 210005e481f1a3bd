"""Problems with known reasoning steps: GSM8K from a file or the hub, and a generator in its format."""

from .concepts import Terms, load_terms, names_terms
from .examples import Example, Note, ProblemSet, Skipped, Step
from .generator import generate
from .gsm8k import from_records, load_hub, parse_answer, read_jsonl, write_jsonl
from .specs import load

__all__ = [
    "Example",
    "Note",
    "ProblemSet",
    "Skipped",
    "Step",
    "Terms",
    "from_records",
    "generate",
    "load",
    "load_hub",
    "load_terms",
    "names_terms",
    "parse_answer",
    "read_jsonl",
    "write_jsonl",
]
