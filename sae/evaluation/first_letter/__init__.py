"""Absorption on the first-letter task, for models that can spell (Chanin et al. 2024; SAEBench, `evals/absorption`)."""
