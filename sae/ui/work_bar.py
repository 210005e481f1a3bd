"""A bar for work that a page waits for, which appears only if it takes long."""

from __future__ import annotations

import time

import streamlit as st

from sae.common.progress import seconds_text

AFTER = 0.5  # s


class WorkBar:
    """A `sae.common.progress.Progress` in the page. Draw it where it belongs, `close` it at the end."""

    def __init__(self) -> None:
        self._place = st.empty()
        self._began = time.monotonic()

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        taken = time.monotonic() - self._began
        if taken < AFTER or total <= 0:
            return
        left = f", about {seconds_text(taken * (total - done) / done)} left" if 0 < done < total else ""
        self._place.progress(min(done / total, 1.0), text=f"{stage}{left}")

    def close(self) -> None:
        self._place.empty()
