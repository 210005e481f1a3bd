"""Losses and in-training mechanisms beyond the reconstruction error, one file each. They take tensors alone."""
