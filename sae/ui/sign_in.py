"""What a visitor sees of who they are: the way in, and who is in."""

from __future__ import annotations

from importlib.util import find_spec

import streamlit as st

from sae.common.errors import UserError
from sae.ui import role
from sae.ui.page import show_error
from sae.ui.words import plain
from sae.workspace import access
from sae.workspace.server_config import server_config

_FORM, _FIELD, _REFUSED = "sign_in", "sign_in_token", "_sign_in_refused"


def ask() -> None:
    """Called by app.py before anything of the workspace is drawn: ends the run for a visitor who may not look."""
    try:
        config, may_look = server_config(), role.may_look()
        if config is not None and config.identity == "oidc":
            _check_oidc()
    except UserError as error:
        show_error(f"This server is not set up: {error}")
        st.stop()
    if may_look or config is None:
        return
    st.title("SAE Workbench", anchor=False)
    known = role.visitor()
    if known is not None:
        st.markdown(f"You are {plain(known)}, who is not among those who may look here: {plain(role.why_not())}.")
        _way_out()
    elif role.signed_in():
        st.markdown("Whoever signed you in says that your e-mail address is not verified: it can't stand for you here.")
        _way_out()
    elif config.identity == "proxy":
        st.markdown(f"The way to this workspace is <{config.public_address}>, where you are asked who you are.")
    else:
        st.markdown("Sign in to see this workspace.")
        _way_in(config.identity)
    st.stop()


def say() -> None:
    """In the sidebar: who the visitor is, and what may not be done here."""
    if access.read_only():
        st.caption("Read-only: this server shows the workspace and changes nothing in it.")
        return
    config = server_config()
    if config is None:
        if not role.may_change():
            st.caption(f"You can look and export: {plain(role.why_not())}.")
        return
    known = role.visitor()
    who = f"{plain(known)}: " if known else ""
    st.caption(
        f"{who}you can look, export, train and delete." if role.may_change() else f"{who}you can look and export."
    )
    if role.signed_in():
        _way_out()
    elif config.identity in ("oidc", "token"):
        with st.popover("Sign in", type="tertiary"):
            _way_in(config.identity)


def _check_oidc() -> None:
    """Raises UserError where st.login has not what it needs: better at the first visit than at the first click."""
    if find_spec("authlib") is None:
        raise UserError("identity = 'oidc' needs one more package: pip install -r requirements-server.txt")
    if not st.secrets.load_if_toml_exists() or "auth" not in st.secrets:
        raise UserError("identity = 'oidc' needs a section [auth] in .streamlit/secrets.toml: docs/sharing-a-server.md")


def _way_in(identity: str) -> None:
    if identity == "oidc":
        st.button("Sign in", type="primary", on_click=st.login, key="sign_in_oidc")
        return
    with st.form(_FORM, border=False, width=420):
        st.text_input("Token", type="password", key=_FIELD, autocomplete="current-password")
        st.form_submit_button("Sign in", type="primary", on_click=_take_token)
    if st.session_state.pop(_REFUSED, False):
        show_error("This token is not known here.")


def _take_token() -> None:
    st.session_state[_REFUSED] = not role.sign_in(st.session_state[_FIELD])
    st.session_state[_FIELD] = ""


def _way_out() -> None:
    if role.signed_in():
        st.button("Sign out", type="tertiary", on_click=role.sign_out, key="sign_out")
