"""Distillation: what the student is taught, whether it learns it, and the predictor and command around it."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from groups import contracts, identities, invariances, oracles
from tiny import HORIZON, MODEL, QUIET, entry, estimator, paths, same_weights, weights, wide_folder
from torch import nn
from toys import Gaussian, make_chain, no_noise, point, short_chain

from timediff.cli.distill import main
from timediff.config import DistillConfig, SamplingConfig
from timediff.diffusion.distillation import ddim_step, distillation_loss, two_step_target
from timediff.diffusion.parameterisation import predict
from timediff.diffusion.process import add_noise
from timediff.diffusion.samplers.ddim import ddim
from timediff.diffusion.spacing import respace
from timediff.errors import InputError
from timediff.gluon.distill import distill, halvings
from timediff.gluon.entries import read_dataset
from timediff.gluon.predictor import TimeGradPredictor
from timediff.gluon.windows import WindowData
from timediff.registry import PARAMETERISATIONS, SCHEDULES
from timediff.timegrad.reverse import walk
from timediff.training.halving import halve

float64 = pytest.mark.usefixtures("float64")

CONFIG = DistillConfig(train_steps=4, batch_size=4)


def chain(steps, name="linear"):
    """Evenly spaced steps of a chain of 100."""
    return short_chain(steps, name)


def bent(kind):
    """A denoiser that is no one's exact one: its output bends and depends on the level."""
    mixing = torch.tensor([[0.3, -0.8, 0.2], [0.5, 0.1, -0.4], [-0.2, 0.6, 0.7]])

    def denoiser(x, level):
        norm = level.norm[..., None] if isinstance(level.norm, torch.Tensor) else level.norm
        shift = torch.as_tensor(level.log_snr)[..., None] / 10
        return predict(torch.tanh(x / norm @ mixing + shift), x, level, kind=kind)

    return denoiser


def taught(schedule, teacher, kind):
    """The student that answers with its target, put through a parameterisation."""

    def denoiser(x, level):
        n = schedule.steps.tolist().index(int(level.n))
        x0 = two_step_target(schedule, teacher, x, torch.full(x.shape[:-1], n))
        eps = (x - level.alpha * x0) / level.sigma
        return predict(PARAMETERISATIONS[kind].of(x0, eps, level), x, level, kind=kind)

    return denoiser


# The core: targets and loss.


@identities
@float64
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_one_step_to_the_target_lands_where_two_steps_of_the_teacher_do(name, kind):
    fine, teacher = chain(8, name), bent(kind)
    n = 2 * torch.randint(1, 5, (6, 5))
    x = add_noise(fine, torch.randn(6, 5, 3), n, torch.randn(6, 5, 3))
    start, middle, end = (fine.level(n - i) for i in range(3))
    there = ddim_step(teacher(ddim_step(teacher(x, start), middle), middle), end)
    x0 = two_step_target(fine, teacher, x, n)
    eps = (x - start.alpha[..., None] * x0) / start.sigma[..., None]
    student = predict(PARAMETERISATIONS[kind].of(x0, eps, start), x, start, kind=kind)
    error = (ddim_step(student, end) - there).abs() / start.norm[..., None]
    assert float(error.max()) < 1e-10


@identities
@float64
@pytest.mark.parametrize("name", ["linear", "ve", "sub-vp"])
def test_the_target_is_that_of_the_paper(name):
    fine, teacher = chain(8, name), bent("v")
    n = 2 * torch.arange(1, 5)
    x = add_noise(fine, torch.randn(4, 3), n, torch.randn(4, 3))
    start, middle, end = (fine.level(n - i) for i in range(3))
    there = ddim_step(teacher(ddim_step(teacher(x, start), middle), middle), end)
    ratio = (end.sigma / start.sigma)[:, None]
    wanted = (there - ratio * x) / (end.alpha[:, None] - ratio * start.alpha[:, None])
    torch.testing.assert_close(two_step_target(fine, teacher, x, n), wanted, rtol=0, atol=1e-9)


@identities
@float64
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
@pytest.mark.parametrize("name", ["linear", "cosine", "ve"])
@pytest.mark.parametrize("steps", [4, 2, 1])
def test_the_whole_chain_of_the_student_is_the_teachers(name, kind, steps):
    fine, coarse, teacher = chain(2 * steps, name), chain(steps, name), bent("v")
    x = fine.prior_std * torch.randn(7, 3)
    by_teacher = ddim(teacher, fine, x, no_noise)
    by_student = ddim(taught(fine, teacher, kind), coarse, x, no_noise)
    torch.testing.assert_close(by_student, by_teacher, rtol=1e-10, atol=1e-10 * fine.prior_std)


@oracles
@float64
@pytest.mark.parametrize("name", SCHEDULES)
def test_of_point_data_the_target_is_the_point(name):
    fine, place = chain(8, name), torch.tensor([1.0, -2.0, 0.5])
    n = 2 * torch.randint(1, 5, (20,))
    x = add_noise(fine, place.expand(20, 3), n, torch.randn(20, 3))
    assert float((two_step_target(fine, point(place), x, n) - place).abs().max()) < 1e-12


MEAN, STD = 1.0, 0.5
REGRESSION = Gaussian([MEAN], [[STD**2]])


class Lines(nn.Module):
    """The smallest network for Gaussian data: v is a line in x, one for each step."""

    def __init__(self):
        super().__init__()
        self.line = nn.Parameter(torch.zeros(101, 2))

    def forward(self, x, level):
        slope, shift = self.line[torch.as_tensor(level.n)].split(1, dim=-1)
        return predict(slope * x + shift, x, level, kind="v")


def affine(denoiser, schedule):
    """Mean and standard deviation of what DDIM makes of standard normal noise by an affine denoiser."""
    with torch.no_grad():
        low, high = ddim(denoiser, schedule, torch.tensor([[0.0], [1.0]]), no_noise)
    return float(low), float(high - low)


@oracles
@float64
@pytest.mark.parametrize("steps", [4, 2, 1])
def test_the_best_line_of_gaussian_data_has_no_loss_and_makes_the_same_samples(steps):
    fine, student = chain(2 * steps), Lines()
    for n in range(2, 2 * steps + 1, 2):
        level = fine.level(torch.tensor([n, n]))
        x = torch.tensor([[0.0], [1.0]])
        x0 = two_step_target(fine, REGRESSION, x, torch.tensor([n, n]))
        eps = (x - level.alpha[:, None] * x0) / level.sigma[:, None]
        v = PARAMETERISATIONS["v"].of(x0, eps, level)[:, 0]
        student.line.data[fine.steps[n]] = torch.stack([v[1] - v[0], v[0]])
    n = 2 * torch.randint(1, steps + 1, (50,))
    x0 = MEAN + STD * torch.randn(50, 1)
    loss = distillation_loss(fine, REGRESSION, student, x0, n, torch.randn(50, 1))
    assert float(loss.detach().max()) < 1e-20
    assert affine(student, chain(steps)) == pytest.approx(affine(REGRESSION, fine), abs=1e-10)


@oracles
def test_halvings_teach_one_step_the_gaussian_that_it_alone_misses():
    teacher, student, losses = REGRESSION, Lines(), []
    for steps in (8, 4, 2, 1):
        student = copy.deepcopy(student)
        optimizer = torch.optim.Adam(student.parameters(), lr=0.03)
        fine = chain(2 * steps)
        for _ in range(300):
            n = 2 * torch.randint(1, steps + 1, (64,))
            x0 = MEAN + STD * torch.randn(64, 1)
            loss = distillation_loss(fine, teacher, student, x0, n, torch.randn(64, 1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert sum(losses[-20:]) < 0.05 * sum(losses[:20])
        teacher = student
    mean, std = affine(student, chain(1))
    by_teacher = affine(REGRESSION, chain(16))
    assert (mean, std) == pytest.approx(by_teacher, abs=0.02)
    # Sixteen steps of DDIM are a little too narrow themselves; a single one makes almost a point.
    assert (mean, std) == pytest.approx((MEAN, STD), abs=0.08)
    assert affine(REGRESSION, chain(1))[1] < 0.1


@identities
@float64
def test_the_loss_is_the_error_of_v_and_not_reduced():
    fine, teacher, student = chain(8), bent("v"), bent("noise")
    n, x0, eps = 2 * torch.randint(1, 5, (9,)), torch.randn(9, 3), torch.randn(9, 3)
    x, level = add_noise(fine, x0, n, eps), fine.level(n)
    goal = two_step_target(fine, teacher, x, n)
    v = PARAMETERISATIONS["v"].of
    target = v(goal, (x - level.alpha[:, None] * goal) / level.sigma[:, None], level)
    given = student(x, level)
    wanted = (v(given.x0, given.eps, level) - target).square()
    found = distillation_loss(fine, teacher, student, x0, n, eps)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@contracts
def test_evenly_spaced_chains_are_nested():
    for length in [*range(2, 40), 50, 100, 250, 1000]:
        long = make_chain(num_steps=length, beta_end=0.02)
        steps = 1
        while 2 * steps <= length:
            fine, coarse = respace(long, 2 * steps).steps, respace(long, steps).steps
            assert fine[::2].tolist() == coarse.tolist()
            steps *= 2


# Predictors.


@pytest.fixture
def teacher(plain):
    return plain


def trained(folder, **model):
    return estimator(folder, model=MODEL._replace(**model)).train([entry()])


@contracts
@pytest.mark.parametrize("steps", [2, 1])
def test_a_student_calls_its_network_as_often_as_asked(teacher, steps):
    before, sampling = weights(teacher.prediction_net), teacher.sampling
    student = distill(teacher, [entry()], steps, config=CONFIG, progress=False)
    assert student.sampling == SamplingConfig(sampler="ddim", steps=steps, spacing="uniform")
    assert student.prediction_net.network_calls(student.sampling) == HORIZON * steps
    assert paths(student, [entry()]).shape == (1, 20, HORIZON, 3)
    assert np.isfinite(paths(student, [entry()])).all()
    # The teacher is as it was, and only the network is new.
    assert teacher.sampling == sampling
    assert same_weights(weights(teacher.prediction_net), before)
    after = weights(student.prediction_net)
    changed = {name.split(".")[0] for name in before if (before[name] != after[name]).any()}
    assert changed == {"denoiser"}


@contracts
def test_the_same_seed_makes_the_same_student(teacher):
    one, same, other = (
        weights(
            distill(
                teacher, [entry()], 2, config=CONFIG._replace(seed=s), progress=False
            ).prediction_net
        )
        for s in (1, 1, 2)
    )
    assert same_weights(one, same)
    assert not same_weights(one, other)


@contracts
@QUIET
@pytest.mark.parametrize("length", [5, 100])
def test_students_are_taught_at_the_levels_they_are_asked_at(tmp_path, monkeypatch, length):
    seen = []

    def spied(schedule, teacher, student, x0, n, eps):
        seen.append(set(schedule.steps[n].flatten().tolist()))
        return distillation_loss(schedule, teacher, student, x0, n, eps)

    monkeypatch.setattr("timediff.training.halving.distillation_loss", spied)
    predictor = trained(tmp_path, diffusion_steps=length)
    for student in halvings(predictor, [entry()], 1, config=CONFIG, progress=False):
        asked = walk(student.sampling, student.prediction_net.schedule).points[1:]
        assert set.union(*seen) == {level.n for level in asked}
        seen.clear()


@contracts
def test_a_student_is_the_next_teacher_at_its_own_levels(teacher):
    *first, last = halvings(teacher, [entry()], 1, config=CONFIG, progress=False)
    assert [one.sampling.steps for one in (*first, last)] == [2, 1]
    first[0].sampling = first[0].sampling._replace(options={"eta": 1.0})
    (on,) = halvings(first[0], [entry()], 1, config=CONFIG, progress=False)
    assert on.sampling.steps == 1


@contracts
@pytest.mark.parametrize(
    "options",
    [
        {"parameterisation": "noise", "schedule": "ve"},
        {"parameterisation": "x0", "schedule": "cosine", "denoiser": "conv"},
        {"parameterisation": "score", "variance": "learned", "schedule": "learned"},
    ],
    ids=lambda options: options["schedule"],
)
@QUIET
def test_every_kind_of_network_can_be_distilled(tmp_path, options):
    student = distill(trained(tmp_path, **options), [entry()], 1, config=CONFIG, progress=False)
    assert np.isfinite(paths(student, [entry()])).all()


@contracts
@QUIET
def test_guidance_is_learned_and_costs_no_more_calls(tmp_path, monkeypatch):
    predictor = trained(tmp_path, condition_dropout=0.2)
    plain = distill(predictor, [entry()], 2, config=CONFIG, progress=False)
    predictor.sampling = SamplingConfig(guidance=2.0)
    guided = distill(predictor, [entry()], 2, config=CONFIG, progress=False)
    assert guided.sampling.guidance == 0
    assert guided.prediction_net.network_calls(guided.sampling) == HORIZON * 2
    assert not same_weights(weights(plain.prediction_net), weights(guided.prediction_net))


@invariances
def test_what_stands_where_nothing_was_observed_does_not_matter(teacher):
    target = entry()["target"]
    target[1, 20:40] = np.nan
    students = []
    for filling in (0.0, 1e4):
        data = WindowData(
            read_dataset([entry() | {"target": target}]), teacher.prediction_net.shape
        )
        data.target = torch.where(data.observed, data.target, filling)
        generator = torch.Generator().manual_seed(1)
        made = halve(
            teacher.prediction_net,
            2,
            lambda generator, data=data: data.windows(
                data.starts[
                    torch.randint(len(data.starts), (CONFIG.batch_size,), generator=generator)
                ]
            ),
            CONFIG,
            generator,
            guidance=0.0,
            on_step=lambda steps: None,
        )
        students.append(weights(made))
    assert same_weights(*students)


@invariances
def test_the_error_of_an_unobserved_entry_moves_nothing(teacher, monkeypatch):
    target = entry()["target"]
    target[1, 20:40] = np.nan
    data = [entry() | {"target": target}]
    plain = distill(teacher, data, 2, config=CONFIG, progress=False)

    def wrong(schedule, by, student, x0, n, eps):
        # Entries without a value are exactly 0 in scaled units.
        error = distillation_loss(schedule, by, student, x0, n, eps)
        return torch.where(x0 == 0, 100 * error, error)

    monkeypatch.setattr("timediff.training.halving.distillation_loss", wrong)
    same = distill(teacher, data, 2, config=CONFIG, progress=False)
    assert same_weights(weights(plain.prediction_net), weights(same.prediction_net))


@contracts
@pytest.mark.parametrize(
    ("dataset", "steps", "config", "said"),
    [
        ([], 2, CONFIG, "no series"),
        ([entry(dim=2)], 2, CONFIG, "2 dimensions, not 3"),
        ([entry(freq="D")], 2, CONFIG, "frequency D, not h"),
        ([entry(length=HORIZON)], 2, CONFIG, "no window to train on"),
        ([entry() | {"target": np.full((3, 60), np.nan)}], 2, CONFIG, "every value"),
        ([entry()], 3, CONFIG, "power of two"),
        ([entry()], 0, CONFIG, "steps is 0"),
        ([entry()], 2.0, CONFIG, "whole number"),
        ([entry()], 4, CONFIG, "has only 4"),
        ([entry()], 2, CONFIG._replace(train_steps=0), "train_steps is 0"),
        ([entry()], 2, CONFIG._replace(learning_rate=float("nan")), "learning_rate is nan"),
        ([entry()], 2, CONFIG._replace(seed=-1), "seed is -1"),
    ],
)
def test_what_cannot_be_distilled_is_refused_at_once(teacher, dataset, steps, config, said):
    with pytest.raises(InputError, match=said):
        halvings(teacher, dataset, steps, config=config)


@contracts
@QUIET
def test_a_self_conditioned_network_is_refused(tmp_path):
    with pytest.raises(InputError, match="self-conditioned"):
        distill(trained(tmp_path, self_conditioning=True), [entry()])


# The command.


@pytest.fixture
def folder(teacher, tmp_path, monkeypatch):
    """A folder with a saved predictor and data that fits it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIMEDIFF_DATA", raising=False)
    teacher.serialize(tmp_path / "teacher")
    wide_folder(tmp_path / "good")
    return tmp_path


ARGS = ["teacher", "--dataset", "good", "--out", "out", "--device", "cpu", "--train-steps", "3"]


@contracts
def test_the_command_saves_a_predictor_of_few_calls(folder, capsys):
    assert main([*ARGS, "--steps", "1"]) == 0
    captured = capsys.readouterr()
    assert "1 network calls" in captured.out and "distilling" in captured.err
    student = TimeGradPredictor.deserialize(folder / "out", device="cpu")
    assert student.sampling == SamplingConfig(sampler="ddim", steps=1, spacing="uniform")
    assert np.isfinite(paths(student, [entry()])).all()
    described = json.loads((folder / "out" / "predictor.json").read_text())
    assert described["sampling"]["steps"] == 1


@contracts
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--frobnicate"], "--frobnicate"),
        (["--steps", "few"], "--steps"),
        (["--steps", "3"], "steps is 3"),
        (["--steps", "8"], "has only 4"),
        (["--train-steps", "0"], "train_steps is 0"),
        (["--batch-size", "-1"], "batch_size is -1"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
        (["--learning-rate", "inf"], "learning_rate is inf"),
        (["--seed", "-1"], "seed is -1"),
        (["--device", "gpu"], "device 'gpu'"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--dataset", "wrong"], "unknown dataset 'wrong'"),
        (["--dataset", "wide", "--steps", "2"], "2 dimensions, not 3"),
        (["--data-dir", "nowhere"], "nowhere"),
        (["--out", "good"], "good is there already"),
        (["--out", "teacher"], "teacher is there already"),
        (["--out", "good/data.csv"], "is there already"),
    ],
)
def test_a_mistake_is_one_sentence(folder, capsys, args, said):
    wide_folder(folder / "wide", dim=2)
    with pytest.raises(SystemExit) as stop:
        main([*ARGS, *args])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("timediff distill: ") and said in line
    assert not (folder / "out").exists()


@contracts
@pytest.mark.parametrize(("name", "said"), [("good", "holds no"), ("nowhere", "no folder nowhere")])
def test_what_is_no_predictor_is_refused(folder, capsys, name, said):
    with pytest.raises(SystemExit):
        main([name, *ARGS[1:]])
    assert said in capsys.readouterr().err


@contracts
def test_an_interrupt_leaves_the_last_student(folder, capsys, monkeypatch):
    calls = []

    def once(*args, **options):
        calls.append(args)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return halve(*args, **options)

    monkeypatch.setattr("timediff.gluon.distill.halve", once)
    assert main([*ARGS, "--steps", "1"]) == 130
    assert "out holds the student of 2 steps" in capsys.readouterr().err
    assert TimeGradPredictor.deserialize(folder / "out", device="cpu").sampling.steps == 2
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main(["out", *ARGS[1:3], "--out", "on", "--steps", "1", "--train-steps", "2"]) == 0
    assert TimeGradPredictor.deserialize(folder / "on", device="cpu").sampling.steps == 1


@contracts
def test_help_and_mistakes_do_not_wait_for_torch():
    code = (
        "import sys\nfrom timediff.cli.distill import main\n"
        "for args in (['--help'], ['x', '--dataset', 'y', '--out', 'z', '--steps', '3']):\n"
        "    try: main(args)\n"
        "    except SystemExit: pass\n"
        "print({'torch', 'gluonts', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@contracts
def test_a_student_says_what_only_its_teacher_can_do(teacher, tmp_path):
    student = distill(teacher, [entry()], 1, config=CONFIG, progress=False)
    student.serialize(tmp_path / "student")
    for one in (student, TimeGradPredictor.deserialize(tmp_path / "student")):
        assert np.isfinite(paths(one, [entry()])).all()
        known = np.full((HORIZON, 3), np.nan)
        known[1, 0] = 2.0
        with pytest.raises(InputError, match="what-if"):
            one.predict([entry()], known_future=known)
        for act in (one.future, one.density):
            with pytest.raises(InputError, match="distilled to 1 steps"):
                act([entry()])
        own = one.sampling
        for other in (SamplingConfig(), own._replace(steps=2), own._replace(spacing="log-snr")):
            one.sampling = other
            with pytest.raises(InputError, match="in another way"):
                one.predict([entry()])
        one.sampling = own._replace(noise="antithetic")
        assert np.isfinite(paths(one, [entry()])).all()
