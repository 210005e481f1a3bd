"""Parses the command line and reports errors: exit code 2 and one last line on standard error."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sae import __version__
from sae.cli import activations, codi, experiments, export, report, runs, serve, share, system
from sae.common.errors import Cancelled, UserError, of_the_disk

_OF_A_PATH = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


class Parser(argparse.ArgumentParser):
    """Argparse prints its usage and the error; ours is the error alone, as for any bad input."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"{message} ('{self.prog} --help' shows what there is)")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--workspace", metavar="DIR", help="default: $SAE_WORKSPACE, else data/workspace")
    common.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    top = Parser(prog="python -m sae", description="Train, explore and share sparse autoencoders.")
    top.add_argument("--version", action="version", version=f"sae-workbench {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for module in (serve, system, activations, codi, experiments, runs, export, report, share):
        module.add(commands, common)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        options = parser().parse_args(arguments)
        options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        said = of_the_disk(error)
        if said is None and isinstance(error, _OF_A_PATH) and error.filename is not None:
            said = UserError(f"{error.filename}: {error.strerror}: give another path")
        if said is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        return 2
    except (Cancelled, KeyboardInterrupt):
        print("error: cancelled; what was finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
