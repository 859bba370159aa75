"""The reverse chain as a forecast runs it: few steps, lower precision, one compiled graph."""

from functools import lru_cache

import pytest
import torch
from groups import contracts, cross_checks
from toys import make_chain, stir

from timediff.config import ModelConfig, SamplingConfig
from timediff.timegrad.batch import Batch, Shape
from timediff.timegrad.model import TimeGrad
from timediff.timegrad.reverse import FEW_STEPS, compile_chain, steps_taken, walk

SHAPE = Shape(3, 2, 4, [1, 3], 2)
CONFIG = ModelConfig(
    scaling="global",
    difference=0,
    num_layers=1,
    hidden_size=8,
    cond_size=6,
    denoiser_layers=1,
    denoiser_width=16,
    diffusion_steps=20,
    beta_end=0.3,
)


def make(**config):
    torch.manual_seed(0)
    return stir(TimeGrad(CONFIG._replace(**config), SHAPE)).eval().requires_grad_(False)


def sample(model, sampling, *, num_samples=20, **options):
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(2, SHAPE.history_length, 3, generator=generator)
    features = torch.randn(2, 6, 2, generator=generator)
    batch = Batch(target, torch.ones_like(target, dtype=torch.bool), features)
    return model.sample(batch, num_samples=num_samples, seeds=[1, 2], sampling=sampling, **options)


@contracts
@pytest.mark.parametrize(
    ("length", "asked", "taken"), [(100, None, FEW_STEPS), (2, None, 2), (100, 7, 7)]
)
def test_few_steps_unless_told_otherwise(length, asked, taken):
    schedule = make_chain(num_steps=length)
    sampling = SamplingConfig(steps=asked)
    assert steps_taken(sampling, schedule) == walk(sampling, schedule).num_steps == taken


@cross_checks
@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({}, {}),
        (
            {"condition_dropout": 0.1, "self_conditioning": True},
            {"sampler": "heun", "guidance": 0.5},
        ),
    ],
)
def test_a_compiled_chain_gives_the_same_paths(config, options):
    model, sampling = make(**config), SamplingConfig(steps=2, **options)
    plain, compiled = sample(model, sampling), sampling._replace(compile=True)
    # One compiler for all three forecasts, as a predictor has one: it is asked for a single chain.
    compiler = lru_cache(compile_chain)
    close = {"rtol": 0, "atol": 1e-5 * float(plain.abs().max())}
    torch.testing.assert_close(sample(model, compiled, compiler=compiler), plain, **close)
    # A second forecast with what was compiled.
    torch.testing.assert_close(sample(model, compiled, compiler=compiler), plain, **close)
    # New weights are not compiled in.
    model.denoiser.output.bias.add_(1.0)
    other = sample(model, compiled, compiler=compiler)
    torch.testing.assert_close(other, sample(model, sampling), **close)
    assert compiler.cache_info().misses == 1


@contracts
def test_a_compiled_chain_keeps_more_noise_in_mind():
    model, sampling = make(), SamplingConfig(steps=5)
    more = model.bytes_per_path(sampling._replace(compile=True)) - model.bytes_per_path(sampling)
    assert more == 5 * 3 * 4


@contracts
@pytest.mark.parametrize("denoiser", ["mlp", "attention"])
def test_bf16_changes_little_and_something(denoiser):
    model, sampling = make(denoiser=denoiser), SamplingConfig(steps=4)
    plain = sample(model, sampling)
    rough = sample(model, sampling._replace(precision="bf16"))
    error = (rough - plain).abs().max() / plain.abs().max()
    assert 0 < error < 0.03
    # On a CPU there is no TF32, and nothing changes; nor does it for whatever comes after.
    assert torch.equal(sample(model, sampling._replace(precision="tf32")), plain)
    assert torch.equal(sample(model, sampling), plain)
