"""The group markers of pyproject.toml as decorators: what a test proves."""

import pytest

identities = pytest.mark.identities
oracles = pytest.mark.oracles
convergence = pytest.mark.convergence
cross_checks = pytest.mark.cross_checks
invariances = pytest.mark.invariances
contracts = pytest.mark.contracts
