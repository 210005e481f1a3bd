"""The devices of this machine, found by a process of its own: asking needs torch, which a page does not import."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import streamlit as st

from sae.common.devices import Device

FRESH = 60.0  # s that free memory is believed
_ASK = (
    "import dataclasses, json; from sae.common.devices import available; "
    "print(json.dumps([dataclasses.asdict(d) for d in available()]))"
)


class Devices:
    """Looks in the background; `known` is None until the first answer."""

    def __init__(self) -> None:
        self.known: list[Device] | None = None
        self._asked = -FRESH
        self._lock = threading.Lock()

    def look(self) -> list[Device] | None:
        """What is known now; asks again where that is older than a minute."""
        with self._lock:
            if time.monotonic() - self._asked >= FRESH:
                self._asked = time.monotonic()
                threading.Thread(target=self._ask, daemon=True).start()
        return self.known

    def _ask(self) -> None:
        done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            self.known = [Device(**device) for device in json.loads(done.stdout)]


@st.cache_resource(max_entries=1, show_spinner=False)
def devices() -> Devices:
    return Devices()
