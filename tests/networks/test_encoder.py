"""The encoder sees each lag where it should, nothing of the future, and can be run step by step."""

import warnings

import pytest
import torch
from groups import contracts, identities, invariances, oracles

from timediff.networks.encoder import Encoder, lagged, map_state

pytestmark = pytest.mark.usefixtures("float64")

B, T, D, L, F, H = 3, 7, 2, 3, 4, 6


@pytest.fixture(params=[("gru", 1), ("gru", 2), ("lstm", 2)], ids=str)
def encoder(request):
    cell, num_layers = request.param
    return make(cell, num_layers).eval()


def make(cell, num_layers, dropout=0.3):
    return Encoder(
        D,
        num_lags=L,
        num_features=F,
        cell=cell,
        num_layers=num_layers,
        hidden_size=H,
        dropout=dropout,
    )


def inputs():
    return torch.randn(B, T, D, L), torch.randn(B, T, F)


@oracles
def test_lags_by_counting():
    lags, length = [1, 3, 24], 5
    # Dimension d of window b counts 0, 1, 2, ... from 1000 d + 10,000 b.
    steps = torch.arange(30.0)[:, None] + 1000 * torch.arange(4.0)
    series = steps + 10_000 * torch.arange(2.0)[:, None, None]
    found = lagged(series, lags, length=length)
    assert found.shape == (2, length, 4, 3)
    now = series[:, -length:]
    for i, lag in enumerate(lags):
        assert (now - found[..., i] == lag).all()


@oracles
def test_lags_reach_exactly_to_the_first_step():
    series = torch.arange(10.0)[None, :, None]
    assert lagged(series, [6], length=4).flatten().tolist() == [0, 1, 2, 3]


@contracts
def test_shapes(encoder):
    h, _ = encoder(*inputs())
    assert h.shape == (B, T, H)


@invariances
def test_no_step_sees_a_later_one(encoder):
    lags, features = inputs()
    lags.requires_grad_()
    features.requires_grad_()
    for t in range(T):
        h, _ = encoder(lags, features)
        grads = torch.autograd.grad(h[:, t].sum(), (lags, features))
        for grad in grads:
            assert (grad[:, t + 1 :] == 0).all()
            assert (grad[:, : t + 1].flatten(2).abs().amax(-1) > 0).all()


@invariances
def test_rows_do_not_mix(encoder):
    lags, features = inputs()
    lags.requires_grad_()
    h, _ = encoder(lags, features)
    (grad,) = torch.autograd.grad(h[1].sum(), lags)
    assert grad[1].abs().min() > 0
    assert (grad[[0, 2]] == 0).all()


@identities
def test_unrolled_equals_step_by_step(encoder):
    lags, features = inputs()
    whole, last = encoder(lags, features)
    state, steps = None, []
    for t in range(T):
        h, state = encoder(lags[:, t : t + 1], features[:, t : t + 1], state)
        steps.append(h)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=0, atol=1e-12)
    for one, two in zip(parts(state), parts(last), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


@identities
def test_state_of_chosen_rows_continues_those_rows(encoder):
    lags, features = inputs()
    index = torch.tensor([2, 0, 0, 1, 2])
    _, state = encoder(lags[:, :-1], features[:, :-1])
    h, _ = encoder(lags[index, -1:], features[index, -1:], map_state(state, index))
    whole, _ = encoder(lags, features)
    torch.testing.assert_close(h[:, 0], whole[index, -1], rtol=0, atol=1e-12)


@contracts
def test_every_parameter_is_used(encoder):
    h, _ = encoder(*inputs())
    h.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@contracts
def test_dropout_acts_in_training_only():
    encoder = make("gru", 2, dropout=0.5)
    given = inputs()
    assert not torch.equal(encoder(*given)[0], encoder(*given)[0])
    encoder.eval()
    assert torch.equal(encoder(*given)[0], encoder(*given)[0])


@contracts
def test_one_layer_has_no_dropout_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = make("gru", 1, dropout=0.5)
    given = inputs()
    assert torch.equal(encoder(*given)[0], encoder(*given)[0])


@contracts
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_no_calendar_features(cell):
    encoder = Encoder(
        1, num_lags=1, num_features=0, cell=cell, num_layers=1, hidden_size=H, dropout=0.0
    )
    h, _ = encoder(torch.randn(B, T, 1, 1), torch.zeros(B, T, 0))
    assert h.shape == (B, T, H) and h.isfinite().all()


@identities
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("lags", [[1], [1, 2, 7], [3, 9]])
def test_step_by_step_is_what_it_is_over_the_whole_window(cell, lags):
    past, horizon, dim = 12, 6, 3
    torch.manual_seed(0)
    encoder = Encoder(
        dim,
        num_lags=len(lags),
        num_features=2,
        cell=cell,
        num_layers=2,
        hidden_size=5,
        dropout=0.1,
    ).eval()
    series, features = torch.randn(2, past + horizon, dim), torch.randn(2, horizon, 2)
    with torch.no_grad():
        # A state as it would be after a context.
        _, state = encoder(torch.randn(2, 4, dim, len(lags)), torch.randn(2, 4, 2))
        whole, last = encoder(lagged(series, lags, length=horizon), features, state)
        decoder = encoder.decoder(series[:, :past], features, lags=lags)
        rows = torch.tensor([1, 0, 1])
        drawn, state = series[rows, past:].transpose(0, 1), map_state(state, rows)
        for t in range(horizon):
            # What is not drawn yet must not be looked at.
            so_far = torch.cat([drawn[:t], torch.full_like(drawn[t:], float("nan"))])
            h, state = decoder.step(rows, so_far, state, t)
            torch.testing.assert_close(h, whole[rows, t], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(state, map_state(last, rows), rtol=1e-10, atol=1e-10)
