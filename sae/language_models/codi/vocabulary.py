"""A word-level tokenizer over the words and numbers of the problem generator: one token a word, one a number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.problems.examples import Example

UNKNOWN, END = "<unk>", "<eos>"
#: Every value that the generator writes, and then some: sums on the way may be larger than their parts.
NUMBERS = range(100)
#: What an answer is opened with; its number follows.
ANSWER = "The answer is:"
_MARKS = ("<<", ">>", "+", "-", "*", "/", "=", "(", ")", "The", "answer", "is", ":")
PATTERN = r"<<|>>|\d+|'s\b|[A-Za-z]+|[^\sA-Za-z0-9]"
_SAMPLE = 60_000


def words_of(texts: Iterable[str]) -> list[str]:
    """The distinct words and marks of some texts, sorted; numbers are left out."""
    pattern = re.compile(PATTERN)
    found = {word for text in texts for word in pattern.findall(text)}
    return sorted(word for word in found if not word.isdigit())


def generator_words() -> list[str]:
    """The words of the generator's problems, from a large sample with all templates and phrasings."""
    from sae.problems import generate

    sample = generate(_SAMPLE, 0, phrasings="all", templates="all", numbers="all")
    return words_of(example.question for example in sample.examples)


def build_tokenizer(words: Iterable[str]) -> Any:
    """A fast tokenizer that knows `words`, the numbers 0 to 99 and the marks of a calculation.

    Ids: `<unk>`, `<eos>`, the numbers in order, the marks, the words in the order given.
    """
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    listed = [UNKNOWN, END, *map(str, NUMBERS), *_MARKS, *words]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(listed))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Split(Regex(PATTERN), "removed", invert=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN, eos_token=END)


def reasoning(example: Example, *, last: bool = False) -> str:
    """The steps as CODI is taught them: `<<48/2=24>><<48+24=72>>`, without the last one unless `last` is set."""
    steps = example.steps if last else example.steps[:-1]
    return "".join(f"<<{step.expression}={number_text(step.value)}>>" for step in steps)


def answer_text(example: Example) -> str:
    """`The answer is: 72`."""
    return f"{ANSWER} {number_text(example.final_answer)}"


def number_text(value: float) -> str:
    """Whole numbers without a point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def check_numbers(tokenizer: Any) -> int:
    """The id of the token `0`, where those of the numbers begin.

    Raises:
        UserError: if the tokenizer has no token for each number.
    """
    ids = tokenizer.convert_tokens_to_ids([str(number) for number in NUMBERS])
    if ids != list(range(ids[0], ids[0] + len(NUMBERS))):
        raise UserError("this tokenizer does not have the numbers 0 to 99 as tokens one after another")
    return ids[0]
