"""Single keys for a page: j and k, arrows, b. They act only while nobody types."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

_JS = """
const seen = new WeakMap()
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const host = parentElement.host ?? parentElement
  const listen = event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return
    const at = event.composedPath()[0]
    const role = at.getAttribute?.("role") ?? ""
    if (at.isContentEditable || ["INPUT", "TEXTAREA", "SELECT", "CANVAS"].includes(at.tagName)) return
    if (["tab", "option", "slider", "radio", "menuitem", "grid", "combobox"].includes(role)) return
    if (!data.keys.includes(event.key)) return
    event.preventDefault()
    setTriggerValue("pressed", event.key)
  }
  const before = seen.get(host)
  if (before) document.removeEventListener("keydown", before)
  seen.set(host, listen)
  document.addEventListener("keydown", listen)
  // Only its own: by the time an old one is cleaned up, a newer one may listen already.
  return () => {
    document.removeEventListener("keydown", listen)
    if (seen.get(host) === listen) seen.delete(host)
  }
}
"""

_listener = st.components.v2.component("sae_keys", html="<span></span>", js=_JS)


def on_keys(actions: Mapping[str, Callable[[], None]], *, key: str) -> None:
    """Call an action when its key (as `KeyboardEvent.key` names it) is pressed outside of fields."""

    def pressed() -> None:
        action = actions.get(str(getattr(st.session_state.get(key), "pressed", None)))
        if action is not None:
            action()

    _listener(key=key, data={"keys": list(actions)}, on_pressed_change=pressed, height="content")
