r"""Samplers with exact denoisers, whose output distribution is known.

For Gaussian data the exact denoiser is affine, so the sampler is an affine map of its start and its
noise. Fed with unit vectors it shows that map: mean and covariance of its output follow without a
single random number.
"""

import numpy as np
import pytest
import torch

from timediff.diffusion import posterior, predict_x0
from timediff.samplers import ancestral
from timediff.schedule import make_schedule, respace

pytestmark = pytest.mark.usefixtures("float64")

VARIANCES = ["small", "large"]
MEAN = np.array([1.0, -0.5, 2.0])
FACTOR = np.array([[0.8, 0.0, 0.0], [0.5, 0.4, 0.0], [-0.3, 0.2, 0.6]])
COVARIANCE = FACTOR @ FACTOR.T  # correlations .78, -.43, -.14


def linear(num_steps=100, beta_start=1e-4, beta_end=0.1):
    return make_schedule("linear", num_steps=num_steps, beta_start=beta_start, beta_end=beta_end)


def gaussian_denoiser(mean, covariance):
    r""":math:`E[\epsilon \mid x_n] = \sigma (\alpha^2 C + \sigma^2 I)^{-1} (x_n - \alpha m)`."""
    mean, covariance = torch.tensor(mean), torch.tensor(covariance)

    def denoise(x, level):
        m, c = mean.to(x.device), covariance.to(x.device)
        noised = level.alpha**2 * c + level.sigma**2 * torch.eye(len(m), device=x.device)
        return level.sigma * torch.linalg.solve(noised, (x - level.alpha * m).T).T

    return denoise


def moments(denoise, schedule, dim, *, variance):
    """Mean and covariance of what an affine sampler returns, by feeding it unit vectors."""
    steps, device = schedule.num_steps, schedule.beta.device
    # Row 0: no noise at all. Rows 1 .. dim: the start. Then dim rows for the noise of each step.
    rows = 1 + dim * steps
    unit = torch.eye(dim, device=device)

    def only(first):
        x = torch.zeros(rows, dim, device=device)
        x[first : first + dim] = unit
        return x

    out = ancestral(
        denoise, schedule, only(1), lambda n: only(1 + dim * (n - 1)), variance=variance
    )
    effects = out[1:] - out[0]
    return out[0].cpu().numpy(), (effects.T @ effects).cpu().numpy()


def recursion(beta, mean, covariance, *, variance):
    """The same moments from the betas, by matrices: x0_hat into the posterior, step by step."""
    dim, eye = len(mean), np.eye(len(mean))
    m, c = np.zeros(dim), eye
    for n in range(len(beta), 0, -1):
        b = beta[n - 1]
        kept, kept_before = np.prod(1 - beta[:n]), np.prod(1 - beta[: n - 1])
        # x0_hat = E[x0 | xn] = gain xn + rest, the regression of x0 on xn.
        gain = np.sqrt(kept) * covariance @ np.linalg.inv(kept * covariance + (1 - kept) * eye)
        rest = mean - gain @ (np.sqrt(kept) * mean)
        of_x0 = np.sqrt(kept_before) * b / (1 - kept)
        of_xn = np.sqrt(1 - b) * (1 - kept_before) / (1 - kept)
        step = of_x0 * gain + of_xn * eye
        m, c = step @ m + of_x0 * rest, step @ c @ step.T
        if n > 1:
            c = c + eye * (b if variance == "large" else b * (1 - kept_before) / (1 - kept))
    return m, c


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_gaussian_moments_follow_the_recursion(device, name, variance):
    schedule = make_schedule(name, num_steps=100, beta_start=1e-4, beta_end=0.1).to(device)
    denoise = gaussian_denoiser(MEAN, COVARIANCE)
    mean, covariance = moments(denoise, schedule, 3, variance=variance)
    expected = recursion(schedule.beta[1:].cpu().numpy(), MEAN, COVARIANCE, variance=variance)
    np.testing.assert_allclose(mean, expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(covariance, expected[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("num_steps", [1, 20])
def test_respaced_gaussian_moments_follow_the_recursion(num_steps, variance):
    long = linear()
    short = respace(long, num_steps)
    kept = long.alpha_bar[short.steps].numpy()
    mean, covariance = moments(gaussian_denoiser(MEAN, COVARIANCE), short, 3, variance=variance)
    expected = recursion(1 - kept[1:] / kept[:-1], MEAN, COVARIANCE, variance=variance)
    np.testing.assert_allclose(mean, expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(covariance, expected[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("variance", VARIANCES)
def test_gaussian_moments_converge_to_the_data(variance):
    errors = []
    for num_steps in (250, 1000):
        # The same path from data to noise at both step sizes; alpha_bar ends at 5e-5.
        schedule = linear(num_steps, 0.1 / num_steps, 20 / num_steps)
        mean, covariance = moments(
            gaussian_denoiser(MEAN, COVARIANCE), schedule, 3, variance=variance
        )
        errors.append([np.abs(mean - MEAN).max(), np.abs(covariance - COVARIANCE).max()])
    coarse, fine = np.array(errors)
    assert fine[0] < 2e-3 and fine[1] < 1e-2
    # First order: four times the steps, a quarter of the error.
    assert coarse[1] / fine[1] == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize(("variance", "expected"), [("small", 0.9421), ("large", 0.9999)])
def test_variance_of_standard_normal_data(variance, expected):
    # From the recursion by hand: beta 1e-4 .. 0.1, N = 100, no noise on the last step.
    denoise = gaussian_denoiser(np.zeros(1), np.ones((1, 1)))
    _, covariance = moments(denoise, linear(), 1, variance=variance)
    assert covariance.item() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("variance", VARIANCES)
def test_point_data_is_met_exactly(variance):
    point = np.array([3.0, -1.0])
    mean, covariance = moments(
        gaussian_denoiser(point, np.zeros((2, 2))), linear(), 2, variance=variance
    )
    np.testing.assert_allclose(mean, point, rtol=1e-10)
    np.testing.assert_allclose(covariance, 0, atol=1e-20)


@pytest.mark.parametrize("variance", VARIANCES)
def test_each_step_is_the_posterior_at_the_predicted_clean_target(variance):
    schedule = respace(linear(), 30)
    seen = []

    def denoise(x, level):
        eps_hat = torch.sin(3 * x) + level.log_snr / 5
        seen.append((x, level, eps_hat))
        return eps_hat

    z = torch.randn(31, 8, 3)
    asked = []

    def noise(n):
        asked.append(n)
        return z[n]

    last = ancestral(denoise, schedule, z[30], noise, variance=variance)
    assert asked == list(range(30, 1, -1))
    assert [int(level.n) for _, level, _ in seen] == schedule.steps[1:].tolist()[::-1]
    assert [float(level.log_snr) for _, level, _ in seen] == schedule.log_snr[1:].tolist()[::-1]
    after = [x for x, _, _ in seen[1:]] + [last]
    for n, (x, _, eps_hat), following in zip(range(30, 0, -1), seen, after, strict=True):
        step = torch.tensor(n)
        mean, posterior_variance = posterior(
            schedule, predict_x0(schedule, x, step, eps_hat), x, step
        )
        spread = {"small": posterior_variance, "large": schedule.beta[step]}[variance].sqrt()
        expected = mean + spread * z[n] if n > 1 else mean
        torch.testing.assert_close(following, expected, rtol=1e-10, atol=1e-10)


def test_sampler_leaves_its_start_alone():
    x = torch.randn(4, 2)
    before = x.clone()
    ancestral(lambda x, level: x, linear(), x, lambda n: torch.zeros(4, 2))
    assert torch.equal(x, before)


class Mixture:
    """Two Gaussians in the plane, far enough apart that every sample has an obvious home."""

    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[-2.0, 1.0], [2.0, -0.5]], dtype=torch.float64)
    covariances = torch.tensor(
        [[[0.10, 0.06], [0.06, 0.12]], [[0.15, -0.09], [-0.09, 0.08]]], dtype=torch.float64
    )

    def denoise(self, x, level):
        """Exact E[eps | xn]: each mode's answer, weighted by how likely it made xn."""
        noised = level.alpha**2 * self.covariances + level.sigma**2 * torch.eye(2)
        precision = torch.linalg.inv(noised)  # [2, 2, 2]
        away = x[:, None] - level.alpha * self.means  # [S, 2, 2]
        pull = torch.einsum("kij,skj->ski", precision, away)
        log_density = -0.5 * (away * pull).sum(-1) - 0.5 * torch.logdet(noised)
        share = torch.softmax(self.weights.log() + log_density, dim=-1)
        return level.sigma * (share[..., None] * pull).sum(1)


# By the recursion above, 500 steps leave each mode alone with a covariance wrong by 0.0052 at most
# (small variance; 0.0012 with the large one) and a mean wrong by 1e-5.
BIAS = 0.0052


@pytest.mark.parametrize("variance", VARIANCES)
def test_mixture_of_two_gaussians(variance):
    count, mixture = 10_000, Mixture()
    schedule = linear(500, 0.1 / 500, 20 / 500)
    rng = torch.Generator().manual_seed(1)
    x = ancestral(
        mixture.denoise,
        schedule,
        torch.randn(count, 2, generator=rng),
        lambda n: torch.randn(count, 2, generator=rng),
        variance=variance,
    )
    home = torch.cdist(x, mixture.means).argmin(dim=1)
    for k in range(2):
        weight, mean, covariance = mixture.weights[k], mixture.means[k], mixture.covariances[k]
        mine = x[home == k]
        # Five standard errors plus the bias of 500 steps.
        error = (weight * (1 - weight) / count).sqrt()
        assert abs(len(mine) / count - weight) < 5 * error + BIAS
        spread = covariance.diagonal()
        error = (spread / len(mine)).sqrt()
        assert ((mine.mean(0) - mean).abs() < 5 * error + BIAS).all()
        # Var of a sample covariance of Gaussians: (c_ii c_jj + c_ij ** 2) / S.
        error = ((spread[:, None] * spread + covariance**2) / len(mine)).sqrt()
        assert ((torch.cov(mine.T) - covariance).abs() < 5 * error + BIAS).all()
