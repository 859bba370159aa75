"""All networks by their contract, the paper's one against a naive version of its published facts."""

import numpy as np
import pytest
import torch
from groups import contracts, cross_checks, invariances
from toys import make_chain, stir

from timediff.networks.attention import AttentionDenoiser
from timediff.networks.convolution import ConvDenoiser
from timediff.networks.mlp import MlpDenoiser

pytestmark = pytest.mark.usefixtures("float64")

C = 7
KINDS = {
    "conv": lambda dim: ConvDenoiser(dim, cond_size=C, layers=4, width=3, dilation_cycle=2),
    "mlp": lambda dim: MlpDenoiser(dim, cond_size=C, layers=2, width=12),
    "attention": lambda dim: AttentionDenoiser(dim, cond_size=C, layers=2, width=8),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_dim = pytest.mark.parametrize("dim", [1, 2, 3, 5, 17])


def make(kind, dim, device="cpu"):
    return KINDS[kind](dim).to(device)


def run(denoiser, x, n, cond):
    level = denoiser.embed_level(make_chain(num_steps=2000).to(x.device).level(n))
    return torch.cat(denoiser(x, level, cond), dim=-1)


@invariances
@every_kind
@every_dim
def test_rows_do_not_mix(kind, dim, device):
    denoiser = stir(make(kind, dim, device))
    x, cond = torch.randn(2, 3, dim, device=device), torch.randn(2, 3, C, device=device)
    n = torch.randint(1, 2001, (2, 3), device=device)
    out = run(denoiser, x, n, cond)
    assert out.shape == x.shape
    for b in range(2):
        for t in range(3):
            alone = run(denoiser, x[b, t], n[b, t], cond[b, t])
            torch.testing.assert_close(out[b, t], alone, rtol=0, atol=1e-12)


@invariances
@every_kind
@every_dim
def test_a_scalar_level_is_shared_by_all_rows(kind, dim, device):
    denoiser = stir(make(kind, dim, device))
    x, cond = torch.randn(6, dim, device=device), torch.randn(6, C, device=device)
    n = torch.tensor(37, device=device)
    torch.testing.assert_close(
        run(denoiser, x, n, cond), run(denoiser, x, n.expand(6), cond), rtol=0, atol=1e-12
    )


@invariances
@every_kind
@every_dim
def test_sampling_sees_what_training_sees(kind, dim, device):
    # Without gradients, and with a level shared by all rows, other operators do the work.
    denoiser = stir(make(kind, dim, device))
    x, cond = torch.randn(6, dim, device=device), torch.randn(6, C, device=device)
    network = denoiser.under(cond)
    for n in (1, 37, 2000):
        level = denoiser.embed_level(
            make_chain(num_steps=2000).to(device).level(torch.tensor(n, device=device))
        )
        taught = torch.cat(network(x, level), dim=-1)
        with torch.no_grad():
            shared = denoiser.under(cond)
            for _ in range(2):  # its memory is used again
                sampled = torch.cat(shared(x, level), dim=-1)
                torch.testing.assert_close(sampled, taught, rtol=0, atol=1e-12)


@invariances
@every_kind
@every_dim
def test_the_answer_depends_on_target_level_and_condition(kind, dim):
    denoiser = stir(make(kind, dim))
    x, cond = torch.randn(4, dim), torch.randn(4, C)
    n = torch.tensor([1, 10, 50, 100])
    out = run(denoiser, x, n, cond)
    for other in (
        run(denoiser, x + 1, n, cond),
        run(denoiser, x, n + 40, cond),
        run(denoiser, x, n, cond + 1),
    ):
        assert (out != other).all()


@contracts
@every_kind
@every_dim
def test_every_parameter_is_used(kind, dim):
    denoiser = stir(make(kind, dim))
    out = run(denoiser, torch.randn(32, dim), torch.randint(1, 2001, (32,)), torch.randn(32, C))
    out.square().sum().backward()
    for name, parameter in denoiser.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@contracts
@every_kind
def test_any_number_of_diffusion_steps(kind):
    schedule = make_chain(num_steps=2000)
    parts = make(kind, 3).embed_level(schedule.level(torch.arange(1, 2001)))
    embedded = torch.cat(parts, dim=-1)
    assert embedded.isfinite().all()
    # No step is taken for the one before it.
    assert (embedded.diff(dim=0).abs().amax(dim=1) > 0).all()


@contracts
def test_conv_denoiser_knows_a_level_between_two_steps_by_both():
    denoiser = stir(make("conv", 3))
    n = torch.tensor([5.0, 20.0, 80.0])
    waves = [denoiser._waves(n + shift - 1) for shift in (0, 0.25, 1)]
    level = make_chain().points[5]

    def embedded(n):
        return torch.cat(denoiser.embed_level(level._replace(n=n)), dim=-1)

    hidden = denoiser.level(0.75 * waves[0] + 0.25 * waves[2])
    expected = torch.cat([block.embed_level(hidden) for block in denoiser.blocks], dim=-1)
    torch.testing.assert_close(embedded(n + 0.25), expected)
    # What the sinusoids themselves say there is far from both.
    assert (waves[1] - waves[0]).norm() > (0.25 * (waves[2] - waves[0])).norm()
    torch.testing.assert_close(embedded(n), embedded(n.long()), rtol=0, atol=0)


@invariances
@pytest.mark.parametrize("dim", [1, 5])
def test_conv_denoiser_answers_the_same_with_gradients_and_in_chunks(dim, monkeypatch):
    denoiser = stir(make("conv", dim))
    x, cond, n = torch.randn(7, dim), torch.randn(7, C), torch.randint(1, 101, (7,))
    expected = run(denoiser, x, n, cond)
    expected.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in denoiser.parameters()]
    monkeypatch.setattr("timediff.networks.convolution.CACHED", 3 * (dim + 4))  # rows 3, 3 and 1
    with torch.no_grad():
        torch.testing.assert_close(run(denoiser, x, n, cond), expected, rtol=0, atol=1e-12)
    denoiser.zero_grad()
    run(denoiser, x, n, cond).square().sum().backward()
    for parameter, gradient in zip(denoiser.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@contracts
def test_conv_denoiser_starts_at_the_bias_of_its_last_convolution(device):
    denoiser = make("conv", 5, device)
    x, cond = torch.randn(6, 5, device=device), torch.randn(6, C, device=device)
    out = run(denoiser, x, torch.randint(1, 101, (6,), device=device), cond)
    torch.testing.assert_close(out, denoiser.output.bias.expand(6, 5))


@contracts
def test_mlp_denoiser_starts_at_the_bias_of_its_last_layer(device):
    denoiser = make("mlp", 5, device)
    torch.nn.init.constant_(denoiser.output.bias, 1.5)
    x, cond = torch.randn(6, 5, device=device), torch.randn(6, C, device=device)
    out = run(denoiser, x, torch.randint(1, 101, (6,), device=device), cond)
    torch.testing.assert_close(out, torch.full_like(x, 1.5))


@contracts
@every_kind
@every_dim
def test_a_second_input_and_a_second_output(kind, dim, device):
    options = {"cond_size": C, "layers": 2, "inputs": 2, "outputs": 2}
    if kind == "conv":
        denoiser = ConvDenoiser(dim, width=3, dilation_cycle=2, **options)
    else:
        denoiser = {"mlp": MlpDenoiser, "attention": AttentionDenoiser}[kind](
            dim, width=12, **options
        )
    denoiser = stir(denoiser.to(device))
    x, cond = torch.randn(4, 2 * dim, device=device), torch.randn(4, C, device=device)
    n = torch.tensor([1, 10, 50, 100], device=device)
    out = run(denoiser, x, n, cond)
    assert out.shape == (4, 2 * dim)
    for part in (slice(0, dim), slice(dim, None)):
        other = x.clone()
        other[:, part] += 1
        assert (run(denoiser, other, n, cond) != out).all()


@invariances
def test_mlp_denoiser_does_not_depend_on_the_names_of_the_steps():
    # It is told the log-SNR, so chains of any number of steps share one network.
    denoiser, level = stir(make("mlp", 3)), make_chain().level(torch.arange(1, 101))
    renamed = level._replace(n=level.n + 5)
    both = (denoiser.embed_level(level), denoiser.embed_level(renamed))
    assert all(torch.equal(*parts) for parts in zip(*both, strict=True))


# ------------------------------------------------- the published architecture, one row, plain loops


def leaky(x):
    return np.where(x > 0, x, 0.4 * x)


def silu(x):
    return x / (1 + np.exp(-x))


def convolve(x, weight, bias, *, dilation=1, pad=0):
    """Conv1d with circular padding: x [I, P], weight [O, I, K] -> [O, P + 2 pad - dilation (K - 1)]."""
    padded = x[:, np.arange(-pad, x.shape[1] + pad) % x.shape[1]]
    outputs, inputs, taps = weight.shape
    width = padded.shape[1] - dilation * (taps - 1)
    out = np.zeros((outputs, width))
    for o in range(outputs):
        for position in range(width):
            out[o, position] = bias[o]
            for i in range(inputs):
                for k in range(taps):
                    out[o, position] += weight[o, i, k] * padded[i, position + dilation * k]
    return out


def published(weights, x, n, cond, *, layers, dilation_cycle):
    def linear(name, value):
        return weights[f"{name}.weight"] @ value + weights[f"{name}.bias"]

    def convolution(name, value, **how):
        return convolve(value, weights[f"{name}.weight"], weights[f"{name}.bias"], **how)

    # Diffusion steps count from 0 in the published table: [sin, cos] of n 10^(4 i / 16).
    phase = np.array([(n - 1) * 10 ** (4 * i / 16) for i in range(16)])
    level = np.concatenate([np.sin(phase), np.cos(phase)])
    level = silu(linear("level.2", silu(linear("level.0", level))))
    cond = leaky(linear("condition.2", leaky(linear("condition.0", cond))))
    y = leaky(convolution("input", x[None], pad=2))
    total = 0
    for i in range(layers):
        block = f"blocks.{i}"
        dilation = 2 ** (i % dilation_cycle)
        inner = y + linear(f"{block}.level", level)[:, None]
        inner = convolution(f"{block}.dilated", inner, dilation=dilation, pad=dilation)
        inner = inner + convolution(f"{block}.condition", cond[None], pad=2)
        gate, value = np.split(inner, 2)
        inner = leaky(convolution(f"{block}.output", np.tanh(value) / (1 + np.exp(-gate))))
        residual, skip = np.split(inner, 2)
        y, total = (y + residual) / np.sqrt(2), total + skip
    return convolution("output", leaky(convolution("skip", total / np.sqrt(layers))))[0]


@cross_checks
@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_conv_denoiser_is_the_published_network(dim):
    layers, dilation_cycle = 8, 2
    denoiser = stir(
        ConvDenoiser(dim, cond_size=C, layers=layers, width=8, dilation_cycle=dilation_cycle)
    )
    weights = {key: value.numpy() for key, value in denoiser.state_dict().items()}
    x, cond, n = torch.randn(3, dim), torch.randn(3, C), torch.tensor([1, 17, 900])
    out = run(denoiser, x, n, cond).detach().numpy()
    for row in range(3):
        expected = published(
            weights,
            x[row].numpy(),
            int(n[row]),
            cond[row].numpy(),
            layers=layers,
            dilation_cycle=dilation_cycle,
        )
        np.testing.assert_allclose(out[row], expected, rtol=1e-9, atol=1e-9)
    # The published sizes: conditioner C -> D // 2 -> D, step embedding 32 -> 64 -> 64.
    assert weights["condition.0.weight"].shape == (max(1, dim // 2), C)
    assert weights["level.0.weight"].shape == (64, 32)
