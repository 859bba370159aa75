"""Short chains on long ones; tests of the spacings themselves stand in test_schedule."""

import pytest
from toys import make_chain

from timediff.diffusion.latent import cut
from timediff.diffusion.spacing import respace
from timediff.registry import SPACINGS

pytestmark = [pytest.mark.identities, pytest.mark.usefixtures("float64")]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_levels_between_the_points_of_a_short_chain_are_those_of_the_long_one(spacing):
    long = make_chain()
    for short in (respace(long, 5, spacing=spacing), cut(respace(long, 50, spacing=spacing), 30)):
        for log_snr in (6.0, 0.3, -2.0):
            assert short.at(log_snr) == long.at(log_snr)
