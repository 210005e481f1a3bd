"""Findings: a claim, the links that carry it, objections to it, and who signed it; one JSON file each in `findings/`.

The files are the truth: they can be copied, sent in a bundle and merged in a version control system. Two people may
write at the same time: each change is made to what stands in the file at that moment, under a lock.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.workspace.access import require_change
from sae.workspace.bundles import check_view
from sae.workspace.notes import clean_text, locked
from sae.workspace.results import now
from sae.workspace.server_config import server_config

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace

CLAIM_LENGTH, TEXT_LENGTH, NAME_LENGTH, LINK_LENGTH = 500, 5000, 80, 4000
_ID = re.compile(r"f-[0-9a-f]{12}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What Copy link adds for whoever opens it, and is no part of the view.
_SHOWN_ONCE = ("from", "embed")


@dataclass(frozen=True)
class Evidence:
    """`link`: a page of the app with its choices (`run?run=ID`), or a web address; `note`: what it shows."""

    link: str
    note: str = ""

    @property
    def inside(self) -> bool:
        """Whether it leads to a page of the app."""
        return "://" not in self.link


@dataclass(frozen=True)
class Said:
    """An objection, or with an empty `text` a signature; `of`: the wording that was signed (`Finding.wording`)."""

    by: str
    when: str
    text: str = ""
    of: str = ""


@dataclass(frozen=True)
class Finding:
    """A claim and what stands about it; times are ISO UTC."""

    id: str
    claim: str
    by: str
    created: str
    evidence: tuple[Evidence, ...] = ()
    objections: tuple[Said, ...] = ()
    signatures: tuple[Said, ...] = field(default=())

    @property
    def wording(self) -> str:
        """SHA-256 of the claim and its evidence, which is what one signs."""
        content = [self.claim, *(f"{one.link} {one.note}" for one in self.evidence)]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    @property
    def status(self) -> str:
        """`objected`, `signed` (as it stands now), `signed before it changed`, or `open`."""
        if self.objections:
            return "objected"
        if any(one.of == self.wording for one in self.signatures):
            return "signed"
        return "signed before it changed" if self.signatures else "open"

    def mentions(self) -> set[str]:
        """What its links name: ids of runs, names of experiments, and whatever else stands in them."""
        queries = [urlsplit(one.link).query for one in self.evidence]
        return {value for query in queries for _, value in parse_qsl(query)}

    def as_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "format": 1,
            "id": self.id,
            "claim": self.claim,
            "by": self.by,
            "created": self.created,
            "evidence": [vars(one) for one in self.evidence],
            "objections": [vars(one) for one in self.objections],
            "signatures": [vars(one) for one in self.signatures],
        }


class Findings:
    """The findings of a workspace, read from their files each time."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.root / "findings"

    def path(self, finding: str) -> Path:
        """Where a finding stands. Raises UserError for what is no finding's id."""
        if not _ID.fullmatch(finding):
            raise UserError(f"{finding[:40]!r} is not the id of a finding")
        return self.folder / f"{finding}.json"

    def all(self) -> list[Finding]:
        """Newest first; files that can't be read are left out (`unreadable`)."""
        return sorted((one for one in self._read_all() if isinstance(one, Finding)), key=_age, reverse=True)

    def unreadable(self) -> list[str]:
        """One line for each file that is no finding."""
        return [one for one in self._read_all() if isinstance(one, str)]

    def get(self, finding: str) -> Finding:
        """Raises UserError if there is none, or its file does not hold one."""
        path = self.path(finding)
        if not path.exists():
            raise UserError(f"there is no finding {finding}: it was deleted, or belongs to another workspace")
        return read_finding(path)

    def add(self, claim: str, by: str, links: list[tuple[str, str]] | None = None) -> Finding:
        """A new finding; `links`: pairs of a link and what it shows.

        Raises:
            UserError: without a claim or a name, for a text that is too long, a link that is none, or for a viewer.
        """
        require_change("writing a finding")
        evidence = tuple(_evidence(_of_this_server(link), note) for link, note in links or [])
        made = Finding(f"f-{secrets.token_hex(6)}", _needed(claim, "a claim", CLAIM_LENGTH), _name(by), now(), evidence)
        write_json(self.path(made.id), made.as_dict())
        return made

    def reword(self, finding: str, claim: str) -> Finding:
        """Another wording of the claim; signatures stay, as given to the one before."""
        with self._changing(finding) as found:
            return self._keep(replace(found, claim=_needed(claim, "a claim", CLAIM_LENGTH)))

    def support(self, finding: str, link: str, note: str = "") -> Finding:
        """One more link that carries it; what stands there already stays once."""
        with self._changing(finding) as found:
            one = _evidence(_of_this_server(link), note)
            return self._keep(replace(found, evidence=tuple(dict.fromkeys([*found.evidence, one]))))

    def object(self, finding: str, by: str, text: str) -> Finding:
        """What speaks against it."""
        with self._changing(finding) as found:
            said = Said(_name(by), now(), _needed(text, "an objection", TEXT_LENGTH))
            return self._keep(replace(found, objections=(*found.objections, said)))

    def sign(self, finding: str, by: str) -> Finding:
        """Sign the claim and its evidence as they stand."""
        with self._changing(finding) as found:
            if not found.evidence:
                raise UserError("a claim without evidence can't be signed: add a link that carries it first")
            said = Said(_name(by), now(), of=found.wording)
            before = [one for one in found.signatures if (one.by, one.of) != (said.by, said.of)]
            return self._keep(replace(found, signatures=(*before, said)))

    def delete(self, finding: str) -> None:
        """Raises UserError for a viewer."""
        require_change("deleting a finding")
        self.path(finding).unlink(missing_ok=True)

    def take(self, theirs: Finding) -> str:
        """Put a colleague's finding beside or into ours; nothing of either goes.

        A finding of the same id and claim gets what theirs has and ours hasn't; one whose claim was worded otherwise
        comes as another finding.

        Returns:
            `new`, `same`, `joined`, or `kept beside ours`.

        Raises:
            UserError: for a viewer.
        """
        require_change("taking in findings")
        path = self.path(theirs.id)
        if not path.exists():
            write_json(path, theirs.as_dict())
            return "new"
        with self._changing(theirs.id) as ours:
            if ours.claim != theirs.claim:
                other = replace(theirs, id=f"f-{hashlib.sha256((theirs.id + theirs.claim).encode()).hexdigest()[:12]}")
                if self.path(other.id).exists():
                    return "same"
                write_json(self.path(other.id), other.as_dict())
                return "kept beside ours"
            joined = replace(
                ours,
                evidence=tuple(dict.fromkeys([*ours.evidence, *theirs.evidence])),
                objections=tuple(dict.fromkeys([*ours.objections, *theirs.objections])),
                signatures=tuple(dict.fromkeys([*ours.signatures, *theirs.signatures])),
            )
            if joined == ours:
                return "same"
            self._keep(joined)
            return "joined"

    def _read_all(self) -> list[Finding | str]:
        found: list[Finding | str] = []
        for path in sorted(self.folder.glob("f-*.json")):
            try:
                found.append(read_finding(path))
            except UserError as error:
                found.append(str(error))
        return found

    @contextmanager
    def _changing(self, finding: str) -> Iterator[Finding]:
        require_change("changing a finding")
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            yield self.get(finding)

    def _keep(self, finding: Finding) -> Finding:
        write_json(self.path(finding.id), finding.as_dict())
        return finding


def read_finding(path: Path) -> Finding:
    """The finding in a file, whoever wrote it. Raises UserError if the file does not hold one."""
    content = read_json(path)
    try:
        if content["format"] != 1 or not _ID.fullmatch(content["id"]):
            raise ValueError("format or id")
        if content["id"] != path.stem:
            raise ValueError("its id is not the file's name")
        return Finding(
            content["id"],
            _needed(str(content["claim"]), "a claim", CLAIM_LENGTH),
            _name(str(content["by"])),
            str(content["created"])[:40],
            tuple(_evidence(str(one["link"]), str(one.get("note", ""))) for one in content["evidence"]),
            tuple(_said(one, _needed(str(one["text"]), "an objection", TEXT_LENGTH)) for one in content["objections"]),
            tuple(_said(one, "") for one in content["signatures"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{path.name} does not hold a finding ({type(error).__name__}: {error})") from None


def _said(content: dict[str, Any], text: str) -> Said:
    return Said(_name(str(content["by"])), str(content["when"])[:40], text, str(content.get("of", ""))[:64])


def _evidence(link: str, note: str) -> Evidence:
    return Evidence(_link(link), clean_text(note, "what a link shows", TEXT_LENGTH))


def _of_this_server(link: str) -> str:
    """A link that was copied here, as the page and its choices that it stands for; any other link as it is."""
    link = link.strip()
    try:
        config = server_config()
    except UserError:  # the app says what is wrong with it
        config = None
    bases = [config.public_address.rstrip("/")] if config else []
    parts = urlsplit(link) if link.isprintable() else None
    if parts is not None and parts.scheme in ("http", "https") and parts.hostname in _LOOPBACK:
        bases.append(f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}")
    for base in bases:
        if link == base or link.startswith((f"{base}/", f"{base}?")):
            page, _, query = link.partition("#")[0].removeprefix(base).lstrip("/").partition("?")
            choices = parse_qsl(query, keep_blank_values=True)
            asked = urlencode([one for one in choices if one[0] not in _SHOWN_ONCE], quote_via=quote)
            return (page or "home") + (f"?{asked}" if asked else "")
    return link


def _link(link: str) -> str:
    """A page of the app, or a web address. Raises UserError for anything else."""
    link = link.strip()
    parts = urlsplit(link) if link.isprintable() and len(link) <= LINK_LENGTH else None
    if parts is not None and parts.scheme in ("http", "https") and parts.netloc and " " not in link:
        page = parts.path.rsplit("/", 1)[-1]
        if parts.hostname not in _LOOPBACK or not page:
            return link
        link = page + (f"?{parts.query}" if parts.query else "")
    try:
        return check_view(link)
    except UserError:
        raise UserError(f"{link[:60]!r} is no link: copy one from a page of the app, or give a web address") from None


def _needed(text: str, what: str, length: int) -> str:
    kept = clean_text(text, what, length)
    if not kept:
        raise UserError(f"{what} needs words")
    return kept


def _name(by: str) -> str:
    return clean_text(by, "a name", NAME_LENGTH, one_line=True) or "somebody"


def _age(finding: Finding) -> tuple[str, str]:
    return finding.created, finding.id
