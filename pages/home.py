"""Home: what is here, what is running, where to start."""

from sae.ui import page

page.head("Home", "What is here, what is running, and where to start?")
