"""Training: configuration, initial weights, the step, and the loop with checkpoints."""
