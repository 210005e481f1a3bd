"""The one error that is meant for people."""


class UserError(Exception):
    """Bad input or a state that the user can mend.

    The message is one line: what was wrong, which value, what to do. The command line prints it after `error:` and
    exits with 2; a page shows it without a traceback. Characters that would turn, hide or move text (other people's
    files may put them into names) are written out, and what is longer than `LONGEST` is cut.
    """

    LONGEST = 1000

    def __init__(self, message: str) -> None:
        line = " ".join(str(message).split())
        line = line if len(line) <= self.LONGEST else f"{line[: self.LONGEST - 3]}..."
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


class Cancelled(Exception):
    """Raised inside long work when its user asked to stop. Work done so far stays on disk."""


class ProcessLost(Exception):
    """Another process of the same job ended before its time; the job resumes at its checkpoint when it is run again."""
