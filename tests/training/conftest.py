"""Rows for training, and the device that the suite trains on: `SAE_TEST_DEVICE`, else a GPU where there is one."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device():
    from sae.common.devices import choose

    return choose(os.environ.get("SAE_TEST_DEVICE", "auto"))


@pytest.fixture(scope="package")
def x():
    """700 rows of 12 dimensions: sparse sums of 24 directions, a mean, and some noise."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.randn(24, 12, generator=generator)
    weights = torch.rand(700, 24, generator=generator) * (torch.rand(700, 24, generator=generator) < 0.15)
    return weights @ atoms + 2 + 0.05 * torch.randn(700, 12, generator=generator)
