"""The one error that is meant for people."""


class UserError(Exception):
    """Bad input or a state that the user can mend.

    The message is one line: what was wrong, which value, what to do. The command line prints it after `error:` and
    exits with 2; a page shows it without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


class Cancelled(Exception):
    """Raised inside long work when its user asked to stop. Work done so far stays on disk."""


class ProcessLost(Exception):
    """Another process of the same job ended before its time; the job resumes at its checkpoint when it is run again."""
