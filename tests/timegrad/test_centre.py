"""The linear forecaster: what it regresses on, what a fit finds, and what may not matter to it."""

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, identities, invariances, oracles
from toys import close

from timediff.timegrad import centre
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.centre import (
    BLOCKS,
    PENALTIES,
    LinearCentre,
    fit_linear,
    regressor_count,
    regressors,
)
from timediff.timegrad.normalisation.base import LARGEST

PROFILES = [[6, 1.0], [12, 4.0]]
SHAPES = {
    "cyclic": Shape(2, 4, 3, [1, 2], 0, 0, [6, 12], 4.0, 8.0, PROFILES),
    "far": Shape(2, 30, 3, [1, 2], 0, 0, [6, 12], 4.0, 8.0, PROFILES),
    "steady": Shape(2, 4, 3, [1, 2], 0, 0, [1], 0.05, 100.0, [[1, 8.0]]),
    "long": Shape(3, 50, 3, [40], 0, 0, [24], 4.0, 8.0, []),
    "unprofiled": Shape(2, 4, 3, [1, 2], 0, 0, [6, 12], 4.0, 8.0, []),
}
#: Shapes in which the long cycle has a pattern.
PATTERNED = ("cyclic", "far")
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def windows(shape, count, *, seed=0, missing=0.0, future=True):
    """Windows of noise."""
    generator = torch.Generator().manual_seed(seed)
    length = shape.history_length + (shape.horizon if future else 0)
    target = torch.randn(count, length, shape.target_dim, generator=generator)
    observed = torch.rand(target.shape, generator=generator) >= missing
    ahead = (count, shape.horizon, shape.target_dim)
    profiles = torch.randn(*ahead, len(shape.profiles), generator=generator)
    pattern = torch.randn(count, shape.cycle, shape.target_dim, generator=generator)
    patterned = bool(shape.profiles) and len(shape.cycles) > 1
    near = torch.zeros(count, shape.context_length + shape.horizon, 0)
    scale = 0.5 + torch.rand(ahead, generator=generator)
    return Batch(
        torch.where(observed, target, 0.0),
        observed,
        near,
        torch.zeros(ahead),
        scale,
        profiles if shape.profiles else None,
        pattern if patterned else None,
    )


def with_future(batch, future, shape):
    """The same windows with another future."""
    past = batch.target[:, : shape.history_length]
    return batch._replace(target=torch.cat([past, future], dim=1))


def blocks_of(batch):
    """Windows in blocks, one after another, a few at a time."""
    size = len(batch.target)
    at = torch.arange(size) * BLOCKS // size

    def parts():
        for block in range(BLOCKS):
            for rows in torch.arange(size)[at == block].split(7):
                yield block, batch.rows(rows)

    return parts


# ---------------------------------------------------------------------------------- regressors


def plain_regressors(past, observed, scale, profiles, pattern, shape, lead, d):
    """Of one window, lead and series, by the words of the module's docstring."""
    series = [
        x if known else 0.0 for x, known in zip(past[:, d].tolist(), observed[:, d], strict=True)
    ]
    day = shape.cycle if shape.cycle > 1 else 24
    quarter = max(day // 4, 2)
    found = [1.0, series[-1], series[-2]]
    found += [sum(series[-quarter:]) / quarter, sum(series[-day:]) / day]
    together, size = [], scale.mean(dim=0).tolist()
    for values, known in zip(past.tolist(), observed.tolist(), strict=True):
        seen = [d for d in range(shape.target_dim) if known[d]]
        total = sum(size[d] * values[d] for d in seen)
        together.append(total / sum(size[d] for d in seen) if seen else 0.0)
    found += [together[-1], sum(together[-quarter:]) / quarter, sum(together[-day:]) / day]

    def same_position(cycle):
        """The last value at the lead's position of a cycle, and the step it is at."""
        step = len(series) + lead
        while step >= len(series):
            step -= cycle
        return step

    if shape.cycle > 1:
        step = same_position(shape.cycle)
        found += [series[step], series[step - shape.cycle]]
    found += [series[same_position(cycle)] for cycle in shape.cycles[1:]]
    if profiles is not None:
        found += profiles[lead, d].tolist()
    if pattern is not None:
        # What the long cycle's profile did not explain in the last short cycle.
        left = {}
        for i in range(day):
            step = len(series) - day + i
            left[step] = series[step] - float(pattern[i, d]) if observed[step, d] else 0.0
        steps = sorted(left)
        found += [left[steps[-1]], sum(left[step] for step in steps[-quarter:]) / quarter]
        found += [sum(left.values()) / day, left[same_position(day)]]
    return found


@cross_checks
@every_shape
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_regressors_are_the_words_of_the_docstring(float64, shape, missing):
    batch, past = windows(shape, 2, missing=missing), shape.history_length
    found = regressors(batch, shape)
    size = (2, shape.horizon, shape.target_dim, regressor_count(shape))
    assert found.shape == size
    for b in range(2):
        one = batch.rows(b)
        seen = one.target[:past], one.observed[:past], one.scale, one.profiles, one.pattern
        for lead in range(shape.horizon):
            for d in range(shape.target_dim):
                expected = plain_regressors(*seen, shape, lead, d)
                close(found[b, lead, d], torch.tensor(expected))


@identities
@every_shape
def test_a_forecast_is_the_regressors_by_their_coefficients(float64, shape):
    batch, centre = windows(shape, 5, missing=0.3), LinearCentre(shape)
    centre.coefficients.normal_()
    close(centre(batch), (regressors(batch, shape) * centre.coefficients).sum(dim=-1))


@contracts
def test_patterns_are_of_windows_with_profiles_and_two_cycles():
    more = {name: regressor_count(shape) for name, shape in SHAPES.items()}
    # 5, 3 of all series, 2 of a cycle, 1 of each longer one, 1 of each profile, 4 of a pattern.
    assert more == {"cyclic": 17, "far": 17, "steady": 9, "long": 10, "unprofiled": 11}
    assert regressor_count(SHAPES["long"]._replace(target_dim=1)) == 7
    for name, shape in SHAPES.items():
        assert (windows(shape, 1).pattern is not None) == (name in PATTERNED)


@identities
@pytest.mark.parametrize("shape", [SHAPES[name] for name in PATTERNED], ids=PATTERNED)
def test_a_past_that_is_its_pattern_leaves_nothing(float64, shape):
    batch, past = windows(shape, 3), shape.history_length
    same = batch._replace(pattern=batch.target[:, past - shape.cycle : past])
    assert (regressors(same, shape)[..., -4:] == 0).all()
    # Its own regressors are the only ones that a pattern changes.
    assert torch.equal(regressors(same, shape)[..., :-4], regressors(batch, shape)[..., :-4])


@invariances
@every_shape
def test_no_future_is_a_regressor_and_none_is_needed(shape):
    batch, past = windows(shape, 3), shape.history_length
    changed = with_future(batch, 1e6 * torch.randn(3, shape.horizon, shape.target_dim), shape)
    known = batch._replace(target=batch.target[:, :past], observed=batch.observed[:, :past])
    centre = LinearCentre(shape)
    centre.coefficients.normal_()
    assert torch.equal(centre(batch), centre(changed))
    assert torch.equal(centre(batch), centre(known))


@invariances
@every_shape
def test_what_is_unobserved_may_hold_anything(shape):
    batch = windows(shape, 3, missing=0.3)
    odd = torch.where(batch.observed, batch.target, torch.tensor(torch.nan))
    assert torch.equal(regressors(batch, shape), regressors(batch._replace(target=odd), shape))


@invariances
@every_shape
def test_a_forecast_is_of_its_own_series_and_the_sum_of_all(float64, shape):
    shape = shape._replace(target_dim=3)
    batch, centre = windows(shape, 3), LinearCentre(shape)
    centre.coefficients.normal_()
    scale = batch.scale.mean(dim=1)[:, None]
    away = torch.randn(batch.target.shape[:2])  # in the units of the sum
    for same, others in ((True, (away, -away)), (False, (away, away))):
        target = batch.target.clone()
        for d in (1, 2):
            target[..., d] += others[d - 1] / scale[..., d]
        other = centre(batch._replace(target=target))
        assert torch.allclose(other[..., 0], centre(batch)[..., 0]) == same
        assert not torch.allclose(other[..., 1], centre(batch)[..., 1])


@oracles
def test_a_sum_is_forecast_by_what_all_series_do_together(float64):
    # One level that wanders, behind noise of each series' own: the last mean of all says most of it.
    dim, count = 20, 400
    shape = Shape(dim, 4, 3, [1, 2], 0, 0, [1], 0.05, 100.0, [[1, 8.0]])
    batch = windows(shape, count)
    length = batch.target.shape[1]
    level = 0.3 * torch.randn(count, length, 1).cumsum(dim=1)
    batch = batch._replace(target=level + torch.randn(count, length, dim))
    fit = fit_linear(blocks_of(batch), shape)
    errors = fit.errors(blocks_of(batch)(), shape).mean(dim=-1)
    for lead in range(shape.horizon):
        # What is left to chance: steps of the level, noise of the mean, and what the past tells of the level.
        least = 0.09 * (lead + 1) + 1 / dim
        assert errors[:, lead].square().mean() < 1.35 * (least + 1 / dim)


@identities
@every_shape
def test_a_forecast_is_linear_beside_its_constant(float64, shape):
    batch, centre = windows(shape, 3), LinearCentre(shape)
    assert torch.equal(centre(batch), torch.zeros(3, shape.horizon, shape.target_dim))  # as made
    centre.coefficients.normal_()
    centre.coefficients[..., 0] = 0
    tripled = {
        name: None if getattr(batch, name) is None else 3 * getattr(batch, name)
        for name in ("target", "profiles", "pattern")
    }
    close(centre(batch._replace(**tripled)), 3 * centre(batch))


# ---------------------------------------------------------------------------------------- fits


def missed_of(coefficients, truth):
    """Mean square of what they miss of the true forecasts of new windows, as a share of these."""
    new, centre = windows(truth.shape, 50, seed=1), LinearCentre(truth.shape)
    centre.coefficients.copy_(coefficients)
    return (centre(new) - truth(new)).square().mean() / truth(new).square().mean()


@oracles
@every_shape
def test_noise_free_data_are_recovered(float64, shape):
    truth = LinearCentre(shape)
    generator = torch.Generator().manual_seed(3)
    one = torch.randn(shape.horizon, 1, regressor_count(shape), generator=generator)
    one = 0.2 * one  # no value so far out that a fit draws it in
    truth.coefficients.copy_(one)  # all series by the same regression: no pull between them
    batch = windows(shape, 400)
    assert truth(batch).abs().max() < LARGEST
    batch = with_future(batch, truth(batch), shape)
    fit = fit_linear(blocks_of(batch), shape)
    # Nothing is left but the small penalty of what all series have in common.
    assert missed_of(fit.coefficients, truth) < 1e-3


@oracles
def test_series_of_regressions_of_their_own_are_told_apart(float64):
    shape, truth = SHAPES["cyclic"], LinearCentre(SHAPES["cyclic"])
    truth.coefficients.normal_(std=0.2)
    batch = windows(shape, 1000)
    assert truth(batch).abs().max() < LARGEST
    fit = fit_linear(blocks_of(with_future(batch, truth(batch), shape)), shape)
    assert fit.penalty == min(PENALTIES)
    pooled = fit.coefficients.mean(dim=1, keepdim=True).expand_as(fit.coefficients)
    assert missed_of(fit.coefficients, truth) < 0.01
    assert missed_of(pooled, truth) > 0.2


@oracles
def test_series_of_one_regression_and_much_noise_are_taken_together(float64):
    shape, truth = SHAPES["cyclic"], LinearCentre(SHAPES["cyclic"])
    truth.coefficients.copy_(0.2 * torch.randn(shape.horizon, 1, regressor_count(shape)))
    batch = windows(shape, 40)
    noisy = truth(batch) + 1.6 * torch.randn(40, shape.horizon, shape.target_dim)
    assert noisy.abs().max() < LARGEST
    assert fit_linear(blocks_of(with_future(batch, noisy, shape)), shape).penalty == max(PENALTIES)


def plain_fit(x, y, known, penalty):
    """By numpy: the regressions ``[D, K]`` of rows ``x [N, D, K]``, ``y [N, D]`` of one lead."""
    count, dim = x.shape[-1], y.shape[1]
    pooled = [np.sqrt(1e-3 * known.sum()) * np.eye(count)]
    rows, targets = [x[known], *pooled], [y[known], np.zeros(count)]
    towards = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0]
    found = []
    for d in range(dim):
        own = known[:, d]
        root = np.sqrt(penalty * max(own.sum(), 1))
        rows = np.concatenate([x[own, d], root * np.eye(count)])
        targets = np.concatenate([y[own, d], root * towards])
        found.append(np.linalg.lstsq(rows, targets, rcond=None)[0])
    return np.stack(found)


@cross_checks
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(
    "shape",
    [SHAPES["cyclic"], SHAPES["steady"], SHAPES["cyclic"]._replace(target_dim=1, horizon=1)],
)
def test_a_fit_is_numpys_least_squares(float64, shape, missing):
    batch = windows(shape, 60, missing=missing)
    fit = fit_linear(blocks_of(batch), shape)
    x = regressors(batch, shape).numpy()
    y = batch.target[:, shape.history_length :].numpy()
    known = batch.observed[:, shape.history_length :].numpy()
    at = np.arange(60) * BLOCKS // 60
    errors = {}
    for penalty in PENALTIES:
        error = 0.0
        for block in range(BLOCKS):
            for h in range(shape.horizon):
                rest, own = at != block, at == block
                b = plain_fit(x[rest, h], y[rest, h], known[rest, h], penalty)
                if penalty == fit.penalty:
                    close(fit.left_out[block, h], torch.tensor(b), 1e-8)
                missed = y[own, h] - (x[own, h] * b).sum(axis=-1)
                error += np.square(missed[known[own, h]]).sum()
        errors[penalty] = error
    assert fit.penalty == min(errors, key=errors.get)
    for h in range(shape.horizon):
        b = plain_fit(x[:, h], y[:, h], known[:, h], fit.penalty)
        close(fit.coefficients[h], torch.tensor(b), 1e-8)


@invariances
def test_left_out_coefficients_do_not_depend_on_their_own_block(float64, monkeypatch):
    monkeypatch.setattr("timediff.timegrad.centre.PENALTIES", (0.1,))
    shape, batch = SHAPES["cyclic"], windows(SHAPES["cyclic"], 50)
    before = fit_linear(blocks_of(batch), shape)
    target = batch.target.clone()
    target[20:30] = 100 * torch.randn(target[20:30].shape)  # block 2
    after = fit_linear(blocks_of(batch._replace(target=target)), shape)
    close(after.left_out[2], before.left_out[2])
    for block in (0, 1, 3, 4):
        assert (after.left_out[block] - before.left_out[block]).abs().max() > 1e-3


@invariances
@every_shape
def test_neither_unobserved_rows_nor_the_size_of_parts_change_a_fit(float64, shape):
    batch = windows(shape, 40)
    one = fit_linear(blocks_of(batch), shape)
    hidden = batch.observed.clone()
    hidden[:, shape.history_length :] = False
    both = [(k, part) for k, part in blocks_of(batch)()]
    both += [
        (k, part._replace(observed=part.observed & False, target=part.target + 1e3))
        for k, part in blocks_of(batch._replace(observed=hidden))()
    ]
    other = fit_linear(lambda: both, shape)
    assert other.penalty == one.penalty
    close(other.coefficients, one.coefficients, 1e-8)
    close(other.left_out, one.left_out, 1e-8)


@oracles
def test_a_fit_sees_outliers_drawn_in_and_so_do_its_errors(float64):
    shape, batch = SHAPES["cyclic"], windows(SHAPES["cyclic"], 40)
    found = []
    for away in (LARGEST, 1e6):
        target = batch.target.clone()
        target[3, -1, 0], target[25, -2, 1] = away, -away
        odd = batch._replace(target=target)
        fit = fit_linear(blocks_of(odd), shape)
        found.append((fit, fit.errors(blocks_of(odd)(), shape)))
    (one, errors), (other, theirs) = found
    assert one.penalty == other.penalty
    assert torch.equal(one.coefficients, other.coefficients) and torch.equal(errors, theirs)
    assert errors[3, -1, 0] > LARGEST / 2 and errors[25, -2, 1] < -LARGEST / 2


@invariances
def test_leads_are_fitted_apart(float64, monkeypatch):
    monkeypatch.setattr("timediff.timegrad.centre.PENALTIES", (0.1,))
    shape, batch = SHAPES["cyclic"], windows(SHAPES["cyclic"], 50)
    before = fit_linear(blocks_of(batch), shape).coefficients
    target = batch.target.clone()
    target[:, shape.history_length + 2] *= -7
    after = fit_linear(blocks_of(batch._replace(target=target)), shape).coefficients
    same = (after - before).abs().amax(dim=(1, 2)) < 1e-10
    assert same.tolist() == [True, True, False, True]


@identities
def test_errors_are_those_of_the_coefficients_without_their_block(float64):
    shape, batch = SHAPES["cyclic"], windows(SHAPES["cyclic"], 23, missing=0.2)
    fit = fit_linear(blocks_of(batch), shape)
    errors = fit.errors(blocks_of(batch)(), shape)
    at, past = torch.arange(23) * BLOCKS // 23, shape.history_length
    centre = LinearCentre(shape)
    for i in range(23):
        centre.coefficients.copy_(fit.left_out[at[i]])
        missed = batch.target[i, past:] - centre(batch.rows([i]))[0]
        known = batch.observed[i, past:]
        close(errors[i], torch.where(known, missed, 0.0))


@contracts
@every_shape
@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("missing", [0.0, 1.0])
def test_few_windows_and_none_observed_have_finite_coefficients(shape, count, missing):
    batch = windows(shape, count, missing=missing)
    fit = fit_linear(blocks_of(batch), shape)
    assert torch.isfinite(fit.coefficients).all() and torch.isfinite(fit.left_out).all()
    assert fit.penalty in PENALTIES and len(fit.left_out) == BLOCKS
    if missing:
        assert (fit.coefficients == 0).all()


@identities
@every_shape
def test_leads_that_are_fitted_a_few_at_a_time_have_the_same_coefficients(
    float64, monkeypatch, shape
):
    parts = blocks_of(windows(shape, 60, missing=0.1))
    whole = fit_linear(parts, shape)
    monkeypatch.setattr(centre, "WIDE", 0)
    for products in (1, 3 * BLOCKS * shape.target_dim * regressor_count(shape) ** 2):
        monkeypatch.setattr(centre, "PRODUCTS", products)
        some = fit_linear(parts, shape)
        assert some.penalty == whole.penalty
        close(some.coefficients, whole.coefficients)
        close(some.left_out, whole.left_out)
