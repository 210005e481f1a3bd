"""The one error that is meant for people."""

import errno

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


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


def of_the_disk(error: OSError) -> UserError | None:
    """What to tell people of an error that is no fault of the program: no room, no right, a disk that can't be written.

    None for any other.
    """
    if error.errno not in _OF_THE_DISK:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return UserError(f"{where}{error.strerror}: make room or get the right to write there, or give another place")


class Cancelled(Exception):
    """Raised inside long work when its user asked to stop. Work done so far stays on disk."""


class ProcessLost(Exception):
    """Another process of the same job ended before its time; the job resumes at its checkpoint when it is run again."""
