"""How a server that others use is set up: one TOML file, named by `SAE_SERVER`; secrets stand in the environment."""

from __future__ import annotations

import hmac
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from sae.common.errors import UserError
from sae.workspace.access import Role

Identity = Literal["none", "oidc", "proxy", "token"]
SECRET_HEADER = "X-Workbench-Proxy"
SHORTEST_SECRET = 24
ANYONE = "anyone"


@dataclass(frozen=True)
class ServerConfig:
    """A server for several people."""

    public_address: str
    """Where visitors find it, e.g. `https://sae.example.org`: what Copy link begins with."""
    identity: Identity
    """How a visitor is known: `oidc` (st.login), `proxy` (a header), `token`, or `none`: all look, nobody does more."""
    trainers: tuple[str, ...] = ()
    """Who trains, imports, deletes and writes notes: names or patterns such as `*@lab.example.org`."""
    viewers: tuple[str, ...] = ("*",)
    """Who looks and exports: as above; `*` is everybody who is known, `anyone` those too who are not."""
    header: str = "X-Forwarded-Email"
    """With `proxy`: the header in which the proxy says who it is."""
    contact: str = ""
    """Whom to ask for what is missing or not allowed."""

    def role_of(self, who: str | None) -> Role:
        """The role of a known visitor, or of an unknown one (None). Names are compared without regard to case."""
        if who and _listed(who, self.trainers):
            return "trainer"
        if self.identity == "none" or ANYONE in self.viewers or (who and _listed(who, self.viewers)):
            return "viewer"
        return "nobody"

    def named_by_proxy(self, header: Callable[[str], Sequence[str]]) -> str | None:
        """Who the proxy says it is; None for a request that did not come through the proxy, which alone has the secret.

        A name that stands there twice is nobody's: one of them may be the visitor's own invention.

        Args:
            header: gives all values of a header of the request.
        """
        secrets, names = header(SECRET_HEADER), header(self.header)
        if len(secrets) != 1 or len(names) != 1 or not _same(secrets[0], os.environ["SAE_PROXY_SECRET"]):
            return None
        return names[0].strip() or None

    def role_of_token(self, token: str) -> Role:
        """`trainer`, `viewer`, or `nobody` for one that isn't known here."""
        roles: tuple[tuple[str, Role], ...] = (("SAE_TRAINER_TOKEN", "trainer"), ("SAE_VIEWER_TOKEN", "viewer"))
        for variable, role in roles:
            known = os.environ.get(variable)
            if known and _same(token.strip(), known):
                return role
        return "nobody"


def server_config() -> ServerConfig | None:
    """What the file that `SAE_SERVER` names says; None without one: the app is for whoever sits at this machine.

    Raises:
        UserError: in one line, for whatever is wrong with the file or the secrets that it needs.
    """
    path = os.environ.get("SAE_SERVER")
    if not path:
        return None
    secrets = tuple(os.environ.get(name, "") for name in ("SAE_PROXY_SECRET", "SAE_TRAINER_TOKEN", "SAE_VIEWER_TOKEN"))
    try:
        return _read(path, Path(path).stat().st_mtime_ns, secrets)
    except OSError as error:
        raise UserError(f"SAE_SERVER names {path}, which can't be read: {error.strerror}") from None


@lru_cache(maxsize=4)
def _read(path: str, modified: int, secrets: tuple[str, str, str]) -> ServerConfig:
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    try:
        return checked(content, *secrets)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def checked(
    content: Mapping[str, Any], proxy_secret: str = "", trainer_token: str = "", viewer_token: str = ""
) -> ServerConfig:
    """The configuration that `content` stands for. Raises UserError for the first thing that is wrong with it."""
    names = [field.name for field in fields(ServerConfig)]
    for name in content:
        if name not in names:
            raise UserError(f"{name!r} is no setting: take {', '.join(names)}")
    for name in ("public_address", "identity"):
        if name not in content:
            raise UserError(f"{name} is missing")
    for name, value in content.items():
        if name in ("trainers", "viewers"):
            if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
                raise UserError(f"{name} = {value!r} is not a list of names")
        elif not isinstance(value, str):
            raise UserError(f"{name} = {value!r} is not text")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v.strip() for k, v in content.items()}
    config = ServerConfig(**values)
    if config.identity not in get_args(Identity):
        raise UserError(f"identity = {config.identity!r} is not known: take one of {', '.join(get_args(Identity))}")
    address = urlsplit(config.public_address)
    if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
        raise UserError(f"public_address = {config.public_address!r} is not like https://sae.example.org")
    if address.scheme == "http" and config.identity != "none":
        raise UserError(
            "public_address begins with http: who signs in needs https, or anybody on the way can read along"
        )
    if config.identity == "none" and config.trainers:
        raise UserError("trainers are named, but with identity = 'none' nobody is known: take oidc, proxy or token")
    if config.identity == "token" and ("trainers" in content or content.get("viewers", [ANYONE]) != [ANYONE]):
        raise UserError("with tokens the token says who trains: leave trainers out, and viewers too or ['anyone']")
    _check_secrets(config, proxy_secret, trainer_token, viewer_token)
    return config


def _check_secrets(config: ServerConfig, proxy_secret: str, trainer_token: str, viewer_token: str) -> None:
    needed = {"proxy": {"SAE_PROXY_SECRET": proxy_secret}, "token": {"SAE_TRAINER_TOKEN": trainer_token}}
    given = {"SAE_VIEWER_TOKEN": viewer_token} if config.identity == "token" and viewer_token else {}
    for name, value in (needed.get(config.identity, {}) | given).items():
        if len(value) < SHORTEST_SECRET:
            raise UserError(
                f"identity = {config.identity!r} needs the environment variable {name} with {SHORTEST_SECRET} "
                "characters or more: 'openssl rand -hex 24' makes one"
            )
    if viewer_token and viewer_token == trainer_token and config.identity == "token":
        raise UserError("SAE_VIEWER_TOKEN is the same as SAE_TRAINER_TOKEN: viewers would train")


def _same(given: str, secret: str) -> bool:
    """In a time that does not say how much of it is right."""
    return hmac.compare_digest(given.encode(), secret.encode())


def _listed(who: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(who.casefold(), pattern.strip().casefold()) for pattern in patterns)
