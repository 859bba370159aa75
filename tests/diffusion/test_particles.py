r"""Conditional sampling by particles, against Gaussian conditionals.

With Gaussian data and its exact denoiser a reverse chain is an affine map of its noise, so the law that the
*model* draws from, coarse chain and all, is Gaussian with moments from a matrix recursion, and so are its
conditionals. Particle estimates of them are compared over independent repetitions: `pooled` joins the
repetitions by their evidence, which leaves a bias far below its standard error.
"""

import math

import numpy as np
import pytest
import torch
import toys
from groups import contracts, identities, invariances, oracles
from toys import FRACTION, condition, law, make_chain, short_chain

from timediff.diffusion.parameterisation import Prediction
from timediff.diffusion.particles import (
    SAME_DRAW_ABOVE,
    Ancestry,
    conditional_reverse,
    effective_size,
    lookahead,
    systematic,
)
from timediff.diffusion.samplers.ancestral import ancestral
from timediff.registry import SCHEDULES

pytestmark = pytest.mark.usefixtures("float64")

VARIANCES = ["small", "large", "learned"]
MEAN, COVARIANCE = toys.MEAN.numpy(), toys.COVARIANCE.numpy()


def chain(name="linear", num_steps=15):
    return short_chain(num_steps, name)


class Particles:
    """The best denoiser of N(mean, covariance) with a mean for each particle; binds to rows of them."""

    def __init__(self, means, covariance=COVARIANCE):
        self.means, self.covariance = torch.as_tensor(means), covariance

    def bind(self, rows, x0=None):
        means = self.means.to(rows.device)[rows]
        return toys.Gaussian(means, self.covariance, fraction=FRACTION[: means.shape[-1]])


def pooled(runs):
    """Mean of each column and its standard error over runs of ``(log_weights [P], values [P, K])``."""
    top = max(float(log_weights.max()) for log_weights, _ in runs)
    totals = torch.stack([(w - top).exp().sum() for w, _ in runs])[:, None]  # [R, 1]
    sums = torch.stack([(w - top).exp() @ values for w, values in runs])  # [R, K]
    mean = sums.sum(0) / totals.sum()
    # The error of a ratio of two means, to first order.
    error = ((sums - mean * totals) ** 2).sum(0).sqrt() / totals.sum()
    return mean.numpy(), error.numpy()


def assert_moments(runs, mean, cov, *, bias=0.0):
    """Means and covariances of the particles within five standard errors (and a bias, if stated)."""
    got, error = pooled(runs)
    assert (np.abs(got - mean) < 5 * error + bias).all(), (got, mean, error)
    around = torch.as_tensor(mean)
    products = [(w, torch.einsum("pi,pj->pij", x - around, x - around).flatten(1)) for w, x in runs]
    got, error = pooled(products)
    assert (np.abs(got - cov.ravel()) < 5 * error + bias).all(), (got, cov, error)


def assert_evidence(runs, log_density):
    """The mean weight estimates the density of what was given without bias."""
    ratio = torch.stack([(w - log_density).exp().mean() for w, _ in runs])
    error = ratio.std() / len(ratio) ** 0.5
    assert abs(ratio.mean() - 1) < 5 * error and error < 0.1, (ratio.mean(), error)


def draw(bind, schedule, known, values, *, log_weights=None, variance="small"):
    """`conditional_reverse` with torch's own random numbers."""
    return conditional_reverse(
        bind,
        schedule,
        known,
        values,
        values.new_zeros(len(values)) if log_weights is None else log_weights,
        lambda: torch.randn_like(values),
        lambda: float(torch.rand(())),
        variance=variance,
    )


def one_step(schedule, given, *, variance="small", count=150, repeats=30):
    """Repetitions of a single time step of the 3-D Gaussian, and the model's law given the same."""
    known = np.array([k in given for k in range(3)])
    model = Particles(np.tile(MEAN, (count, 1)))
    y = np.array([given.get(k, np.nan) for k in range(3)])
    values = torch.tensor(y).expand(count, 3)
    runs = []
    for _ in range(repeats):
        after = draw(model.bind, schedule, torch.tensor(known), values, variance=variance)
        assert (after.x0[:, known] == values[:, known]).all()
        runs.append((after.log_weights, after.x0[:, ~known]))
    slope, cov, last = law(schedule, COVARIANCE, variance=variance)
    return runs, condition(slope @ MEAN, cov + np.diag(last * known), known, y[known])


# Every schedule, variances in turn.
@oracles
@pytest.mark.parametrize(
    ("name", "variance"), [(name, VARIANCES[i % 3]) for i, name in enumerate(SCHEDULES)]
)
def test_known_dimension_follows_the_models_conditional(name, variance):
    runs, (mean, cov, log_density) = one_step(chain(name), {0: 1.8}, variance=variance)
    assert_moments(runs, mean, cov)
    assert_evidence(runs, log_density)


@oracles
@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("given", [{0: 0.4, 2: 2.5}, {0: 1.8, 1: -0.2, 2: 1.5}], ids=str)
def test_several_known_dimensions_follow_the_models_conditional(given, variance):
    runs, (mean, cov, log_density) = one_step(chain("cosine", 25), given, variance=variance)
    assert_moments(runs, mean, cov)
    assert_evidence(runs, log_density)


@oracles
@pytest.mark.parametrize("name", ["linear", "cosine", "vp"])
def test_weights_of_unit_data_do_not_scatter_at_all(name):
    # Proposal and lookahead are exact there, so that one particle gives the density to the last digits.
    count, schedule, y = 20, chain(name), 1.7
    model = Particles(torch.zeros(count, 2), np.eye(2))
    values, known = torch.full((count, 2), y), torch.tensor([True, False])
    after = draw(model.bind, schedule, known, values, variance="large")
    _, cov, last = law(schedule, np.eye(2), variance="large")
    own = cov[0, 0] + last[0]
    expected = torch.full((count,), -0.5 * (y**2 / own + math.log(2 * math.pi * own)))
    torch.testing.assert_close(after.log_weights, expected, rtol=0, atol=1e-9)


@oracles
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_chains_of_hardly_any_steps_are_exact_too(num_steps):
    runs, (mean, cov, log_density) = one_step(
        chain("cosine", num_steps), {1: 0.1}, variance="large", repeats=100
    )
    assert_moments(runs, mean, cov)
    assert_evidence(runs, log_density)


@oracles
def test_fine_chain_follows_the_datas_conditional():
    schedule = make_chain(num_steps=300, beta_start=0.1 / 300, beta_end=20 / 300)
    runs, _ = one_step(schedule, {0: 1.8}, variance="large", count=500, repeats=6)
    known = np.array([True, False, False])
    mean, cov, _ = condition(MEAN, COVARIANCE, known, np.array([1.8]))
    # What the chain itself is wrong by.
    _, own, _ = law(schedule, COVARIANCE, variance="large")
    bias = np.abs(own - COVARIANCE).max()
    assert bias < 0.01
    assert_moments(runs, mean, cov, bias=2 * bias)


# A vector autoregression of order one, close to a random walk.
A = np.array([[0.9, 0.2], [-0.1, 0.95]])
Q = np.array([[0.5, 0.2], [0.2, 0.3]])
START = np.array([0.5, -1.0])


def filtered(given, horizon, *, levels, count=200, repeats=30, variance="large"):
    """Particles through time, and the exact law given the same values.

    ``given`` is {(t, d): value}. The model draws x_t given x_{t-1}; or, with ``levels``, independent changes,
    what is given being levels, so that the changes they ask for differ between particles.

    Returns:
        Runs of log-weights and the unknown entries, their mean and covariance, log-density, and for each
        run the effective sizes ``[T]``.
    """
    schedule = chain("cosine", 15)
    slope, cov, last = law(schedule, Q, variance=variance)
    known = np.array([[(t, d) in given for d in range(2)] for t in range(horizon)])
    y = np.array([[given.get((t, d), 0.0) for d in range(2)] for t in range(horizon)])
    # The whole path is a mean and a matrix times independent noise; carry is x_{t-1} to the mean of x_t.
    carry = np.eye(2) if levels else slope @ A
    push = np.zeros(2) if not levels else slope @ (START * 0.1)
    mean, blocks, here = [], np.zeros((horizon, horizon, 2, 2)), START
    for t in range(horizon):
        here = carry @ here + push
        mean.append(here)
        for s in range(t + 1):
            blocks[t, s] = np.linalg.matrix_power(carry, t - s)
    effect = blocks.transpose(0, 2, 1, 3).reshape(2 * horizon, 2 * horizon)
    noise = np.zeros((2 * horizon, 2 * horizon))
    for t in range(horizon):
        noise[2 * t : 2 * t + 2, 2 * t : 2 * t + 2] = cov + np.diag(last * known[t])
    exact = condition(
        np.concatenate(mean), effect @ noise @ effect.T, known.ravel(), y[known].ravel()
    )

    runs, sizes = [], []
    for _ in range(repeats):
        path = torch.tensor(START).expand(count, 1, 2)
        log_weights, ancestry = torch.zeros(count), Ancestry(count)
        for t in range(horizon):
            now = path[:, -1]
            means = (
                torch.tensor(START * 0.1).expand(count, 2) if levels else now @ torch.tensor(A.T)
            )
            wanted = torch.tensor(y[t]) - now if levels else torch.tensor(y[t]).expand(count, 2)
            after = draw(
                Particles(means, Q).bind,
                schedule,
                torch.tensor(known[t]),
                wanted,
                log_weights=log_weights,
                variance=variance,
            )
            path, log_weights = path[after.rows], after.log_weights
            following = after.x0 + path[:, -1] if levels else after.x0
            path = torch.cat([path, following[:, None]], dim=1)
            ancestry.record(after.rows, after.draws)
        runs.append((log_weights, path[:, 1:].flatten(1)[:, ~known.ravel()]))
        sizes.append(ancestry.effective_sizes(log_weights))
    return runs, exact, torch.stack(sizes)


LATER = {(3, 0): 1.5, (3, 1): 0.5}
CASES = {
    "known later step": LATER,
    "known dimension of a later step": {(2, 1): 0.6},
    "both": {(0, 0): 1.2, (2, 0): 0.3, (2, 1): -0.2, (3, 1): 0.4},
}


@oracles
@pytest.mark.parametrize("levels", [False, True], ids=["levels", "changes"])
@pytest.mark.parametrize("case", CASES)
def test_earlier_steps_follow_the_gaussian_bridge(case, levels):
    given = CASES[case]
    horizon = max(t for t, _ in given) + 1
    runs, (mean, cov, log_density), _ = filtered(given, horizon, levels=levels)
    assert_moments(runs, mean, cov)
    assert_evidence(runs, log_density)


@oracles
def test_the_bridge_is_not_what_the_model_draws_without_the_later_step():
    # The bound above can fail: the same particles without their weights are elsewhere.
    runs, (mean, _, _), _ = filtered({(1, 0): 2.5}, 2, levels=False, repeats=20)
    free = A @ START
    got, error = pooled(runs)
    assert abs(mean[0] - free[0]) > 20 * error[0]
    assert abs(got[0] - mean[0]) < 5 * error[0]


@oracles
@pytest.mark.parametrize("given", [{(0, 0): 1.2}, LATER], ids=["same step", "later step"])
def test_reported_effective_size_is_what_the_estimates_scatter_by(given):
    """A mean over E independent draws has variance cov / E: measured over repetitions, then compared."""
    horizon = max(t for t, _ in given) + 1
    runs, (_, cov, _), sizes = filtered(given, horizon, levels=False, repeats=60)
    means = torch.stack([w.softmax(0) @ values for w, values in runs])  # [R, K]
    # The first unknown entry, at the first step, has the fewest ancestors left.
    actual = cov[0, 0] / float(means[:, 0].var())
    reported = float(sizes[:, 0].mean())
    # 60 repetitions know a variance to 18 %, so five standard errors are a factor of two.
    assert 0.5 * actual < reported < 2 * actual


@identities
@pytest.mark.parametrize("variance", VARIANCES)
def test_nothing_known_is_ancestral_sampling(variance):
    schedule, count = chain("linear", 20), 30
    model = Particles(np.random.default_rng(0).normal(size=(count, 3)))
    z = list(torch.randn(20, count, 3))
    weights = torch.linspace(-9, 0, count)
    after = conditional_reverse(
        model.bind,
        schedule,
        torch.zeros(3, dtype=torch.bool),
        torch.full((count, 3), math.nan),
        weights,
        iter(z).__next__,
        lambda: pytest.fail("nothing to resample for"),
        variance=variance,
    )
    noise = iter(z[1:]).__next__
    start = schedule.prior_std * z[0]
    expected = ancestral(
        model.bind(torch.arange(count)),
        schedule,
        start,
        noise,
        variance=variance,
        extrapolation=0.0,
    )
    torch.testing.assert_close(after.x0, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(after.log_weights, weights)
    assert torch.equal(after.rows, torch.arange(count))


@contracts
def test_given_values_come_back_exactly_with_their_particle(device):
    count = 64
    schedule = chain().to(device)
    values = torch.randn(count, 3, device=device)
    values[:, 1] = math.nan
    known = torch.tensor([True, False, True], device=device)
    model = Particles(torch.zeros(count, 3))
    after = draw(model.bind, schedule, known, values)
    assert after.rows.unique().numel() < count
    assert torch.equal(after.x0[:, known], values[after.rows][:, known])


@invariances
def test_order_of_the_particles_does_not_matter():
    count, schedule = 40, chain("cosine", 25)
    order = torch.randperm(count)
    means, z = torch.tensor(MEAN) + 0.01 * torch.randn(count, 3), torch.randn(25, count, 3)
    values = means + 0.3
    weights, known = 0.1 * torch.randn(count), torch.tensor([True, True, False])

    def run(order):
        return conditional_reverse(
            Particles(means[order]).bind,
            schedule,
            known,
            values[order],
            weights[order],
            iter(z[:, order]).__next__,
            # Resampling in order depends on it, so this holds as long as there is none.
            lambda: pytest.fail("resampled"),
            variance="large",
        )

    one, other = run(torch.arange(count)), run(order)
    torch.testing.assert_close(one.x0[order], other.x0, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(one.log_weights[order], other.log_weights, rtol=0, atol=1e-9)


@invariances
def test_a_common_factor_of_the_weights_stays():
    values, known = torch.full((50, 3), 1.5), torch.tensor([False, True, False])
    model = Particles(np.tile(MEAN, (50, 1)))
    results = []
    for shift in (0.0, 7.0):
        torch.manual_seed(3)
        results.append(
            draw(model.bind, chain(), known, values, log_weights=torch.full((50,), shift))
        )
    torch.testing.assert_close(results[0].x0, results[1].x0)
    torch.testing.assert_close(results[0].log_weights + 7, results[1].log_weights)


@contracts
def test_what_a_resampled_particle_keeps():
    """After resampling, conditions and the last estimate are those of the rows kept; copies are told."""
    count, schedule = 100, chain()
    # Narrow data at different places: particles are told apart little by little.
    means = torch.linspace(-3, 3, count)[:, None].expand(count, 2)
    model = Particles(means, 0.01 * np.eye(2))
    seen = []

    def bind(rows, x0):
        own = model.bind(rows)
        if x0 is None:
            assert seen == [] and torch.equal(rows, torch.arange(count))
        else:
            level, before, own_x0 = seen[-1]
            # Rows say where each came from since the start; x0 are rows of the last estimate.
            kept = (x0[:, None] == own_x0).all(-1).double().argmax(dim=1)
            assert torch.equal(own_x0[kept], x0)
            assert torch.equal(before[kept], rows)
            resampled.append((level.log_snr, kept))

        def denoise(x, level):
            prediction = own(x, level)
            seen.append((level, rows, prediction.x0))
            return prediction

        return denoise

    resampled = []
    after = draw(bind, schedule, torch.tensor([True, False]), torch.full((count, 2), 1.0))
    assert len(resampled) > 1
    assert torch.equal(seen[-1][1], after.rows) or schedule.points[1].log_snr > SAME_DRAW_ABOVE
    drawn = torch.arange(count)
    for log_snr, kept in resampled:
        drawn = drawn[kept] if log_snr > SAME_DRAW_ABOVE else drawn
    # A resampling at the last step binds nothing anew, but its copies are counted.
    assert after.draws.unique().numel() <= drawn.unique().numel()
    assert set(after.draws.tolist()) <= set(drawn.tolist())


@contracts
def test_values_that_cannot_be_leave_few_particles():
    smallest = []
    for far in (0.0, 2.5, 9.0):
        _, _, sizes = filtered({(1, 0): far, (1, 1): -far}, 2, levels=False, repeats=3)
        smallest.append(float(sizes[:, 0].mean()))
    assert smallest[0] > 40
    assert smallest[0] > 2 * smallest[1] and smallest[1] > 2 * smallest[2]
    assert smallest[2] < 3


@oracles
@pytest.mark.parametrize("name", SCHEDULES)
def test_lookahead_is_exact_for_unit_data(name):
    schedule = chain(name, 12)
    for variance in ("small", "large"):
        slope, spread = lookahead(schedule, variance=variance)
        product, total = 1.0, 0.0
        for n in range(1, 13):
            point = schedule.points[n]
            gain = point.alpha / (point.alpha**2 + point.sigma**2)
            s2 = schedule.floats["beta"][n]
            if variance == "small":
                s2 = schedule.floats["posterior_variance"][max(n, 2)]
            total += product**2 * s2
            product *= (
                schedule.floats["posterior_x0"][n] * gain + schedule.floats["posterior_xn"][n]
            )
            assert slope[n] == pytest.approx(product, rel=1e-9)
            assert spread[n] == pytest.approx(total, rel=1e-9)
            if variance == "large" and schedule.prior_std == pytest.approx(1, abs=1e-12):
                assert spread[n] == pytest.approx(point.sigma**2, rel=1e-9)


@oracles
def test_effective_size():
    assert effective_size(torch.full((3, 8), -4.0)).tolist() == pytest.approx([8, 8, 8])
    assert float(effective_size(torch.tensor([0.0, -math.inf, -math.inf]))) == 1
    assert float(effective_size(torch.tensor([0.75, 0.25]).log())) == pytest.approx(1.6)


@oracles
def test_systematic_resampling_is_unbiased_and_rounds_up_or_down():
    log_weights = torch.tensor([0.05, 0.0, 0.31, 0.37, 0.27, 0.0]).log()
    wanted = 7 * log_weights.exp()
    total = torch.zeros(6)
    for u in (torch.arange(1000) + 0.5) / 1000:
        counts = systematic(log_weights, float(u), size=7).bincount(minlength=6)
        assert ((counts - wanted).abs() < 1).all()
        total += counts / 1000
    torch.testing.assert_close(total, wanted, rtol=0, atol=2e-3)


@contracts
@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-53])
def test_systematic_resampling_never_draws_a_particle_without_weight(u):
    log_weights = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf])
    assert set(systematic(log_weights, u, size=100).tolist()) == {1, 3}


@oracles
def test_systematic_resampling_of_equal_weights_keeps_each():
    assert systematic(torch.zeros(5), 0.5).tolist() == [0, 1, 2, 3, 4]


@oracles
def test_ancestry_by_hand():
    ancestry = Ancestry(4)
    ancestry.record()  # four draws
    # Copies of 0, 0, 2, 2, the last two alike in what they draw next.
    ancestry.record(torch.tensor([0, 0, 2, 2]), torch.tensor([0, 1, 2, 2]))
    ancestry.record(torch.tensor([0, 1, 3, 3]))
    # Step 3: four. Step 2: 0, 1, 2, 2. Step 1: 0, 0, 2, 2.
    equal = ancestry.effective_sizes(torch.zeros(4)).tolist()
    assert equal == pytest.approx([2, 1 / (2 / 16 + 1 / 4), 4])
    some = ancestry.effective_sizes(torch.tensor([0.5, 0.3, 0.1, 0.1]).log()).tolist()
    assert some == pytest.approx([1 / (0.64 + 0.04), 1 / (0.25 + 0.09 + 0.04), 1 / 0.36])


@contracts
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_given_value_that_is_no_number_is_refused(bad):
    values = torch.zeros(4, 3)
    values[2, 1] = bad
    model = Particles(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="finite"):
        draw(model.bind, chain(), torch.tensor([False, True, False]), values)


@contracts
def test_particles_without_weight_are_refused():
    model, known = Particles(torch.zeros(4, 3)), torch.tensor([True, False, False])
    with pytest.raises(ValueError, match="weight"):
        draw(model.bind, chain(), known, torch.zeros(4, 3), log_weights=torch.full((4,), -math.inf))


@contracts
def test_unknown_variance_and_missing_fraction_are_refused():
    model, known = Particles(torch.zeros(4, 3)), torch.tensor([True, False, False])
    with pytest.raises(ValueError, match="small, large or learned"):
        draw(model.bind, chain(), known, torch.zeros(4, 3), variance="medium")

    def bind(rows, x0):
        def denoiser(x, level):
            prediction = model.bind(rows)(x, level)
            return Prediction(prediction.x0, prediction.eps)

        return denoiser

    with pytest.raises(ValueError, match="predicts none"):
        draw(bind, chain(), known, torch.zeros(4, 3), variance="learned")
