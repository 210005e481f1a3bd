"""What a training step on the CPU is made of: the encoder product, the sparse decoder, the fused update of features."""
