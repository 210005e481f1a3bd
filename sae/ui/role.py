"""Who the visitor is and may do. Three cases, of which the first that applies holds:

- `SAE_READ_ONLY=1`: nobody changes anything;
- `SAE_SERVER=FILE`: the server is for several people, and the file says who they are (`sae.workspace.server_config`);
- neither: whoever sits at this machine may do all. A server that listens beyond it shows, and changes nothing.

Buttons are drawn by `may_change`; the functions that write ask again (`sae.workspace.access`).
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from sae.common.errors import UserError
from sae.workspace import access
from sae.workspace.server_config import ServerConfig, server_config

_SIGNED_IN = "_signed_in"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class _Token:
    """What a token was good for; kept by the session. A browser can't send one of these."""

    role: access.Role


def visitor() -> str | None:
    """How the visitor is known (an e-mail address, a name); None for one who is not, and with tokens.

    Raises:
        UserError: if the server's configuration is wrong.
    """
    config = server_config()
    if config is None:
        return None
    if config.identity == "proxy":
        return config.named_by_proxy(st.context.headers.get_all)
    if config.identity == "oidc" and st.user.get("is_logged_in"):
        # A provider that says so of an address lets anybody claim it. Those that have no such claim don't.
        return None if st.user.get("email_verified") is False else str(st.user.get("email") or "") or None
    return None


def role() -> access.Role:
    """Of the visitor for whom this run works. Outside of one there is nobody on a server for several people.

    Raises:
        UserError: if the server's configuration is wrong.
    """
    config = server_config()
    if get_script_run_ctx(suppress_warning=True) is None:
        return "trainer" if config is None else "nobody"
    if config is None:
        return "trainer" if at_this_machine() else "viewer"
    if config.identity == "token":
        signed_in = st.session_state.get(_SIGNED_IN)
        if isinstance(signed_in, _Token):
            return signed_in.role
    return config.role_of(visitor())


def sign_in(token: str) -> bool:
    """Take a token for this session; returns whether it is one. Raises UserError if the configuration is wrong."""
    config = server_config()
    found = config.role_of_token(token) if config else "nobody"
    if found == "nobody":
        return False
    st.session_state[_SIGNED_IN] = _Token(found)
    return True


def sign_out() -> None:
    """Forget the token of this session, or have the provider forget the visitor."""
    st.session_state.pop(_SIGNED_IN, None)
    config = server_config()
    if config and config.identity == "oidc":
        st.logout()


def signed_in() -> bool:
    """Whether there is something to sign out of."""
    return isinstance(st.session_state.get(_SIGNED_IN), _Token) or bool(st.user.get("is_logged_in"))


def may_look() -> bool:
    """Whether this visitor may see the workspace."""
    return role() != "nobody"


def may_change() -> bool:
    """Whether this visitor may start, rename, delete or import anything."""
    return access.may_change()


def require_change(doing: str = "changing this workspace") -> None:
    """Call first in whatever writes: a hidden button is no protection. Raises UserError for a viewer."""
    access.require_change(doing)


def at_this_machine() -> bool:
    """Whether the server can be reached from this machine only."""
    return str(st.get_option("server.address") or "") in _LOOPBACK


def local() -> bool:
    """Whether visitors sit at this machine, so that a path of its disk may be asked for."""
    return server_config() is None and at_this_machine() and may_change()


def why_not() -> str:
    """What a visitor who may only look can do to do more."""
    config: ServerConfig | None = server_config()
    if config is None:
        return "this server listens beyond this machine and has no SAE_SERVER file that says who may train"
    whom = f"ask {config.contact}" if config.contact else "ask who runs this server"
    known = signed_in() or visitor() is not None
    return whom if known or config.identity in ("none", "proxy") else f"sign in, or {whom}"


def _checked_role() -> access.Role:
    try:
        return role()
    except UserError:
        return "nobody"  # app.py shows what is wrong with the configuration, and nothing else


access.decide_by(_checked_role, why_not)
