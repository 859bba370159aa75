"""How many threads a training has. No test asserts how long anything took: clocks are made up."""

import logging
import threading

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny import MODEL, QUIET, TRAIN, Watching, entry, estimator, same_weights, weights

from timediff.cli import evaluate as evaluate_command
from timediff.cli.distill import make_parser
from timediff.config import DistillConfig, ModelConfig, TrainConfig
from timediff.diffusion.schedule import make_schedule
from timediff.errors import InputError
from timediff.gluon.distill import distill
from timediff.timegrad.denoising import LevelCache, make_network
from timediff.tools.threads import GAIN, given_threads, quickest, with_threads

pytestmark = [QUIET, pytest.mark.filterwarnings("ignore:after .* diffusion steps")]


class Machine:
    """A clock, and steps that take their time by torch's number of threads."""

    def __init__(self, seconds):
        self.seconds, self.now, self.steps = seconds, 100.0, []

    def __call__(self):
        return self.now

    def step(self):
        threads = torch.get_num_threads()
        self.steps.append(threads)
        cost = self.seconds[threads]
        self.now += cost(len(self.steps)) if callable(cost) else cost


def timed(seconds, most, **options):
    machine = Machine(seconds)
    return machine, quickest(machine.step, most, clock=machine, **options)


@pytest.fixture
def free(monkeypatch):
    """A process in which torch has chosen two threads by itself."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("timediff.tools.threads._AT_IMPORT", 2)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def quicker(free, monkeypatch):
    """Has a training find a number of threads the quickest."""

    def choose(threads):
        machine = Machine({1: 2.0 if threads == 2 else 1.0, 2: 1.0 if threads == 2 else 2.0})

        def fixed(step, most, **options):
            def taken():
                machine.step()
                return step()

            return quickest(taken, most, **options, clock=machine)

        for module in ("timediff.training.threads", "timediff.gluon.distill"):
            monkeypatch.setattr(f"{module}.quickest", fixed)
        return machine

    return choose


class Seen(Watching, Callback):
    """Threads of torch in each step."""

    def __init__(self):
        self.threads = []

    def on_before_optimizer_step(self, *_):
        self.threads.append(torch.get_num_threads())


class Cut(Callback):
    def on_train_epoch_start(self, trainer, *_):
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")


# ---------------------------------------------------------------- by timing


@pytest.mark.parametrize(
    ("seconds", "most", "threads"),
    [
        ({1: 1.0, 2: 0.7}, 2, 2),
        ({1: 1.0, 2: 2.0}, 2, 1),
        ({1: 1.0, 2: 0.97}, 2, 1),  # not worth a processor
        ({1: 1.0, 2: 0.6, 4: 0.4, 6: 0.3}, 6, 6),
        ({1: 1.0, 2: 0.6, 4: 0.7}, 8, 2),  # 8 are not tried
        ({1: 1.0, 2: 1.1, 3: 0.1}, 3, 1),
        ({1: 1.0}, 1, 1),
    ],
)
def test_the_quickest_number_is_found(seconds, most, threads):
    machine, pick = timed(seconds, most)
    assert pick.threads == threads
    assert pick.seconds == pytest.approx({n: seconds[n] for n in pick.seconds})
    assert set(machine.steps) == {1, *pick.seconds}


def test_more_threads_must_gain():
    for factor, threads in ((1.01, 2), (0.99, 1)):
        assert timed({1: 1.0, 2: 1 / (GAIN * factor)}, 2)[1].threads == threads


def test_a_machine_that_gets_slower_meanwhile_is_so_for_both():
    # In the end all takes ten times as long: blocks of one number after the other would be misled.
    cost = [lambda i: 10.0 if i > 5 else 1.0, lambda i: 7.0 if i > 5 else 0.7]
    assert timed({1: cost[0], 2: cost[1]}, 2)[1].threads == 2


def test_steps_that_wait_now_and_then_are_slow():
    assert timed({1: 1.0, 2: lambda i: 9.0 if i == 6 else 0.5}, 2)[1].threads == 1


def test_no_round_begins_after_the_limit():
    seconds = {1: 1.0, 2: 0.5, 4: 0.25}
    assert len(timed(seconds, 4, rounds=3)[0].steps) == 1 + 2 * 3 + 2 * 3
    assert len(timed(seconds, 4, limit=0.0)[0].steps) == 1 + 2
    assert len(timed(seconds, 4, limit=3.0)[0].steps) == 1 + 2 + 2


def test_torch_has_its_own_number_afterwards():
    before = torch.get_num_threads()
    timed({1: 1.0, 2: 0.5}, 2)
    with pytest.raises(ZeroDivisionError):
        quickest(lambda: 1 / 0, 2)
    assert torch.get_num_threads() == before


# ---------------------------------------------------------------- in a training


@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_has_the_quickest_and_is_that_of_who_is_told(tmp_path, quicker, threads, caplog):
    quicker(threads)
    seen, state = Seen(), torch.get_rng_state()
    made = estimator(tmp_path / "a", trainer_kwargs={"callbacks": [seen]})
    with caplog.at_level(logging.INFO, logger="timediff"):
        output = made.train_model([entry()])
    assert seen.threads == [threads] * TRAIN.steps and torch.get_num_threads() == 2
    assert output.predictor.choices["threads"] == threads
    (line,) = [r.getMessage() for r in caplog.records if "threads" in r.getMessage()]
    assert line == f"threads: {threads} (a step takes 1 s, 2 s with {3 - threads})"
    assert torch.equal(torch.get_rng_state(), state)
    kept = torch.load(tmp_path / "a" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["threads"] == threads
    told = estimator(tmp_path / "b", train=TRAIN._replace(threads=threads)).train_model([entry()])
    assert same_weights(weights(output.trained_net), weights(told.trained_net))
    assert output.trained_net.history == told.trained_net.history
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"checkpoints"}


def test_what_is_timed_is_seen_by_no_callback_of_the_user(tmp_path, quicker):
    machine, seen = quicker(1), Seen()
    estimator(tmp_path, trainer_kwargs={"callbacks": [seen]}).train([entry()])
    assert machine.steps == [1, 2, 1] and len(seen.threads) == TRAIN.steps


@pytest.mark.parametrize("began", [1, 2])
def test_a_resumed_training_has_the_threads_that_it_began_with(tmp_path, quicker, began):
    quicker(began)
    whole = estimator(tmp_path / "whole").train_model([entry()])
    with pytest.raises(RuntimeError, match="power cut"):
        estimator(tmp_path, trainer_kwargs={"callbacks": [Cut()]}).train([entry()])
    assert torch.get_num_threads() == 2
    machine, seen = quicker(3 - began), Seen()  # it would be told otherwise now
    resumed = estimator(tmp_path, trainer_kwargs={"callbacks": [seen]}).train_model(
        [entry()], ckpt_path=tmp_path / "checkpoints" / "last.ckpt"
    )
    assert set(seen.threads) == {began} and not machine.steps
    assert same_weights(weights(resumed.trained_net), weights(whole.trained_net))


def test_a_checkpoint_without_threads_is_gone_on_from(tmp_path, quicker):
    quicker(1)
    with pytest.raises(RuntimeError, match="power cut"):
        estimator(tmp_path, trainer_kwargs={"callbacks": [Cut()]}).train([entry()])
    file = tmp_path / "checkpoints" / "last.ckpt"
    kept = torch.load(file, weights_only=True)
    del kept["threads"]
    torch.save(kept, file)
    output = estimator(tmp_path).train_model([entry()], ckpt_path=file)
    assert output.predictor.choices["threads"] == 1


def test_threads_that_were_given_are_not_timed(tmp_path, quicker, monkeypatch):
    machine = quicker(1)
    assert given_threads() is None
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "2")
            assert given_threads() == 2
            assert estimator(tmp_path).train([entry()]).choices["threads"] == 2
    with with_threads(3):
        assert estimator(tmp_path).train([entry()]).choices["threads"] == 3
    with with_threads(1):
        told = TRAIN._replace(threads=2)
        assert estimator(tmp_path, train=told).train([entry()]).choices["threads"] == 2
    assert not machine.steps


def test_trainings_in_threads_choose_each_for_itself(tmp_path, quicker):
    quicker(1)
    alone = weights(estimator(tmp_path / "alone").train_model([entry()]).trained_net)
    outputs = []

    def train(folder):
        outputs.append(estimator(folder).train_model([entry()]))

    threads = [threading.Thread(target=train, args=(tmp_path / str(i),)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outputs) == 2
    assert all(same_weights(weights(output.trained_net), alone) for output in outputs)


def test_the_time_of_the_choice_is_part_of_the_budget(tmp_path, quicker, monkeypatch):
    quicker(1)
    given = {}

    def planned(*_, spent, **options):
        given.update(spent=spent, threads=torch.get_num_threads())
        return 6

    monkeypatch.setattr("timediff.training.fit.planned_steps", planned)
    times = iter([10.0, 13.5])
    monkeypatch.setattr("timediff.training.fit.perf_counter", lambda: next(times))
    estimator(tmp_path, train=TRAIN._replace(time_budget=5.0)).train([entry()])
    assert given == {"spent": 3.5, "threads": 1}


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two", True])
def test_threads_must_be_a_number_of_them(tmp_path, threads):
    with pytest.raises(InputError, match="threads is"):
        estimator(tmp_path, train=TRAIN._replace(threads=threads))


# ---------------------------------------------------------------- bit for bit


def test_two_threads_add_up_the_gradient_of_the_levels_in_one_order():
    # Large enough that the threads share it.
    config = ModelConfig(denoiser_width=64, scaling="mean")
    schedule = make_schedule("linear", num_steps=100, beta_start=1e-4, beta_end=0.1)
    network = make_network(config, 4)
    n = torch.randint(1, 101, (3000,), generator=torch.Generator().manual_seed(0))
    weight = torch.randn(3000, 1, generator=torch.Generator().manual_seed(1))
    gradients = []
    with with_threads(2):
        for _ in range(8):
            network.zero_grad()
            parts = LevelCache(network, schedule, like=torch.ones(1))(schedule.level(n))
            sum((part * weight).sum() for part in parts).backward()
            gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert gradients[0]
    for again in gradients[1:]:
        assert all(torch.equal(one, two) for one, two in zip(gradients[0], again, strict=True))


WIDE = {"denoiser_width": 64, "hidden_size": 32, "context_length": 24, "diffusion_steps": 20}


@pytest.mark.parametrize("denoiser", ["mlp", "conv", "attention"])
@pytest.mark.parametrize("step_sampling", ["uniform", "importance"])
def test_the_same_seed_and_two_threads_give_the_same_weights(tmp_path, denoiser, step_sampling):
    width = 8 if denoiser != "mlp" else 64
    model = MODEL._replace(**WIDE | {"denoiser_width": width, "denoiser": denoiser})
    train = TRAIN._replace(batch_size=48, threads=2, step_sampling=step_sampling)
    made = [
        estimator(tmp_path / str(i), model=model, train=train).train_model([entry(8, 200)])
        for i in range(2)
    ]
    first, *others = (weights(output.trained_net) for output in made)
    assert all(same_weights(first, other) for other in others)


# ---------------------------------------------------------------- distillation and command lines


@pytest.mark.parametrize("threads", [1, 2])
def test_a_distillation_has_the_quickest_and_is_that_of_who_is_told(tmp_path, quicker, threads):
    model = MODEL._replace(diffusion_steps=8)
    teacher = estimator(tmp_path, model=model, train=TRAIN._replace(threads=1)).train([entry()])
    machine, config = quicker(threads), DistillConfig(train_steps=2, batch_size=4)
    state = torch.get_rng_state()
    student = distill(teacher, [entry()], 4, config=config, progress=False)
    assert machine.steps == [1, 2, 1] and torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)
    told = config._replace(threads=threads)
    other = distill(teacher, [entry()], 4, config=told, progress=False)
    assert len(machine.steps) == 3
    assert same_weights(weights(student.prediction_net), weights(other.prediction_net))


@pytest.mark.parametrize(
    ("line", "file", "threads"),
    [
        ([], "", None),
        (["--threads", "2"], "", 2),
        (["--train.threads", "3"], "", 3),
        ([], "threads: 2", 2),
        ([], "train:\n  threads: 3", 3),
        (["--threads", "4"], "train:\n  threads: 3", 4),
        (["--train.threads", "4"], "threads: 2", 4),
        (["--threads", "2", "--train.threads", "4"], "", 2),
    ],
)
def test_the_command_line_says_how_many(tmp_path, line, file, threads):
    config = tmp_path / "run.yaml"
    config.write_text(file + "\n" if file else "{}\n")
    run, _ = evaluate_command.parse([*line, "--config", str(config)])
    assert run.train == TrainConfig(threads=threads)


def test_the_command_line_of_a_distillation_says_how_many():
    parse = make_parser().parse_args
    given = ["model", "--dataset", "d", "--out", "o"]
    assert parse([*given, "--threads", "2"]).threads == 2
    assert parse(given).threads is None
