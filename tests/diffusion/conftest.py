"""Gaussian data of the bound and of the likelihood, on the device of the tests."""

import pytest
import torch


@pytest.fixture
def mean(device):
    return torch.tensor([0.5, -1.0, 0.2], device=device)


@pytest.fixture
def covariance(device):
    root = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [-0.3, 0.4, 0.7]], device=device)
    return root @ root.T
