"""Training: configuration, initial weights, the step, and the loop with checkpoints. Importing it does not import torch."""
