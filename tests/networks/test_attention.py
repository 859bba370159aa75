"""Attention over the dimensions: what it treats alike, what it may see, what that costs, what it learns."""

import pytest
import torch
from groups import contracts, invariances, oracles
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from toys import make_chain, stir

from timediff.networks.attention import AttentionDenoiser

pytestmark = pytest.mark.usefixtures("float64")

C = 7


def make(dim, *, device="cpu", **options):
    options = {"cond_size": C, "layers": 2, "width": 8, **options}
    return AttentionDenoiser(dim, **options).to(device)


def run(denoiser, x, n, cond):
    level = denoiser.embed_level(make_chain().to(x.device).level(n))
    return torch.cat(denoiser(x, level, cond), dim=-1)


@invariances
@pytest.mark.parametrize("outputs", [1, 2])
def test_renamed_dimensions_give_the_same_answers_in_their_new_order(outputs):
    dim, order = 6, torch.randperm(6)
    denoiser = stir(make(dim, inputs=2, outputs=outputs))
    x, cond, n = torch.randn(4, 2, dim), torch.randn(4, C), torch.randint(1, 101, (4,))
    before = run(denoiser, x.flatten(1), n, cond).view(4, outputs, dim)
    with torch.no_grad():
        denoiser.names.copy_(denoiser.names[order])
    after = run(denoiser, x[..., order].flatten(1), n, cond).view(4, outputs, dim)
    torch.testing.assert_close(after, before[..., order])


@contracts
@pytest.mark.parametrize("dim", [2, 5, 40])
def test_every_output_depends_on_every_input(dim):
    denoiser = stir(make(dim, inputs=2, outputs=2))
    n, cond = torch.tensor(30), torch.randn(C)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: run(denoiser, x, n, cond), torch.randn(2 * dim)
    )
    assert jacobian.shape == (2 * dim, 2 * dim) and jacobian.abs().min() > 0


@contracts
def test_the_condition_moves_every_dimension_by_its_own_amount():
    denoiser = stir(make(5))
    same = torch.randn(1).expand(5)
    with torch.no_grad():
        denoiser.names[:] = denoiser.names[:1]
    apart = run(denoiser, same, torch.tensor(30), torch.randn(C))
    torch.testing.assert_close(apart, apart[:1].expand(5))  # dimensions differ by their names alone
    names = torch.randn_like(denoiser.names)
    with torch.no_grad():
        denoiser.names.copy_(names)
    (one, _), (other, _) = (denoiser._start(torch.randn(1, C)) for _ in range(2))
    moved = (one - other)[0]
    assert (moved - moved.mean(dim=0)).abs().max() > 1e-3


@contracts
@pytest.mark.parametrize("dim", [1, 6])
def test_one_step_from_the_start_every_parameter_learns(dim, device):
    denoiser = make(dim, device=device)
    x, cond = torch.randn(16, dim, device=device), torch.randn(16, C, device=device)
    n, target = torch.randint(1, 101, (16,), device=device), torch.randn(16, dim, device=device)
    assert not run(denoiser, x, n, cond).any()
    optimizer = torch.optim.SGD(denoiser.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (run(denoiser, x, n, cond) - target).square().mean().backward()
        optimizer.step()
    for name, parameter in denoiser.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@contracts
def test_the_cost_of_a_row_is_linear_in_the_number_of_dimensions():
    def flops(dim):
        denoiser = make(dim, width=32)
        x, level = torch.randn(2, dim), denoiser.embed_level(make_chain().level(torch.tensor(30)))
        network = denoiser.under(torch.randn(2, C))
        # Only the plain form of attention is made of operations that are counted.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            network(x, level)
        return counter.get_total_flops()

    small, middle, large = (flops(dim) for dim in (500, 1000, 2000))
    assert middle - small == (large - middle) / 2 == 500 * ((large - small) / 1500)
    assert large < 2.05 * middle
    # Per row and dimension: some 20 thousand a layer at this width.
    assert large / (2 * 2000) < 60_000


@oracles
def test_it_learns_how_dimensions_hang_together():
    # One factor, loadings +-1: unit variances, correlations +-0.9; half signal, half noise.
    dim, rho, share = 6, 0.9, 0.5
    loadings = torch.tensor([1.0, -1.0]).repeat(3)
    covariance = rho * torch.outer(loadings, loadings) + (1 - rho) * torch.eye(dim)
    total = share * covariance + (1 - share) * torch.eye(dim)
    # Error of the best estimate of the noise from all of x, and from each entry of x alone.
    best = 1 - (1 - share) * float(total.inverse().diagonal().mean())
    alone = share
    denoiser = make(dim, width=16, layers=1)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=5e-3)
    level = make_chain().level(torch.tensor(30))

    def error(rows):
        factor, own = torch.randn(rows, 1), torch.randn(rows, dim)
        x0 = rho**0.5 * factor * loadings + (1 - rho) ** 0.5 * own
        eps = torch.randn(rows, dim)
        x = share**0.5 * x0 + (1 - share) ** 0.5 * eps
        (out,) = denoiser(x, denoiser.embed_level(level), torch.zeros(1, C))
        return (out - eps).square().mean()

    for _ in range(250):
        optimizer.zero_grad()
        error(256).backward()
        optimizer.step()
    with torch.no_grad():
        reached = float(error(5000))
    # At least nine tenths of what the others say about an entry.
    assert best - 0.02 < reached < best + 0.1 * (alone - best)
