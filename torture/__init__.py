"""Long trials of what must not break: `make torture`. Their results stand in docs/torture.md."""
