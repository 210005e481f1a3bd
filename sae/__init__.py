"""SAE Workbench: train, explore and share sparse autoencoders."""

__version__ = "0.1.0"
