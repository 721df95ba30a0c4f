"""The speed benchmark's twins compute what ours do, and it measures what it says."""

import math
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import joblib
import memory
import numpy as np
import pandas as pd
import pytest
import speed
import speed_estimators
import speed_networks
import speed_training
import torch
from speed_networks import bernoulli, bits, gaussians, make_module
from speed_rows import Options, Row, cost, figure, speed_up
from timing import Figure, interleaved, quotient, slope, summary
from twins import (
    MaskedLinearMADE,
    NADELoop,
    PlainLoops,
    RNADELoop,
    sample_by_forward,
    train_as_in_tutorials,
)

from skdensity_ar import MADEDensity
from skdensity_ar.networks import MADE, NADE

QUICK = Options(quick=True, repeats=2)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


# Measuring ---------------------------------------------------------------------------


def test_calls_take_turns():
    order = []
    calls = {name: partial(order.append, name) for name in "ABC"}
    times = interleaved(calls, 3, warm_up=2)
    assert "".join(order) == "ABC" * 5
    assert {name: len(of_call) for name, of_call in times.items()} == dict(
        A=3, B=3, C=3
    )


def test_a_short_call_is_repeated_within_its_turn_and_its_mean_is_given(monkeypatch):
    now, order = [0.0], []
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr("timing.time", clock)

    def call(name, seconds):
        order.append(name)
        now[0] += seconds

    calls = {"long": partial(call, "long", 1.0), "short": partial(call, "short", 0.25)}
    times = interleaved(calls, 2, shortest=0.5)
    turn = ["long", "short", "short"]
    assert order == ["long", "short", *turn, *turn]  # the warm-up, two rounds
    assert times == {"long": [1.0, 1.0], "short": [0.25, 0.25]}


def test_a_quotient_is_of_medians_and_its_spread_of_rounds():
    # In every round twice as long, whatever the machine did meanwhile.
    assert quotient([2.0, 20.0, 6.0], [1.0, 10.0, 3.0]) == Figure(2.0, 2.0, 2.0)
    assert quotient([2.0, 4.0, 9.0], [1.0, 1.0, 3.0]) == Figure(4.0, 2.0, 4.0)
    assert quotient([12.0], [1.0, 2.0, 3.0]) == Figure(6.0, 4.0, 12.0)
    assert summary([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)
    one = speed_up("case", "what", [1.0, 2.0, 3.0], [12.0], "rival")
    assert (one.ratio, one.ratio_low, one.ratio_high) == (6.0, 4.0, 12.0)
    assert (one.ours_ms, one.rival_ms) == (2000.0, 12000.0)
    assert cost("case", "what", [1.0, 3.0], [4.0, 4.0], "rival").ratio == 0.5
    assert math.isnan(cost("case", "what", [1.0], [4.0], "rival").ratio_low)


def test_the_slope_is_the_exponent():
    sizes = [1, 2, 4, 8]
    times = [[0.1 * n**1.5, 7.0 * n, 0.2 * n**2] for n in sizes]
    fitted = slope(sizes, times)
    assert fitted.low == pytest.approx(1.0) and fitted.high == pytest.approx(2.0)
    same = slope(sizes, [[0.1 * n**1.5] for n in sizes])
    assert same.value == pytest.approx(1.5)


def test_peak_bytes_are_those_alive_at_a_time():
    def call():
        a = torch.zeros(250)  # 1000 bytes
        b = a + 1.0
        del a
        c = torch.cat([b, b])
        del b
        return c.sum()

    assert memory.peak_bytes(call, torch.device("cpu")) == 3000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_scoring_memory_is_beyond_what_was_there(tmp_path, monkeypatch, capsys):
    path = tmp_path / "model.joblib"
    joblib.dump(Greedy(), path)
    monkeypatch.setattr(sys, "argv", ["memory.py", str(path), "20000", "1"])
    memory.main()
    assert 7.5e7 < int(capsys.readouterr().out) < 9e7


class Greedy:
    """Takes 4000 bytes for every row it scores.

    Malloc asks the system for so much anew, whatever this process had before.
    """

    def score_samples(self, X):
        return np.ones((len(X), 500)).sum(1)


# Twins -------------------------------------------------------------------------------


@pytest.mark.parametrize("by_index", [False, True])
@pytest.mark.parametrize("paper", ["NADE", "RNADE"])
def test_loops_have_our_loss_and_our_gradients(paper, by_index, generator):
    n, D, H = 7, 9, 5
    if paper == "NADE":
        loop, conditional, kwargs = NADELoop, bernoulli(D), {"activation": "logistic"}
        x = bits((n, D), 0.3, generator)
    else:
        loop, conditional = RNADELoop, gaussians(D, 3)
        kwargs = {"activation": "relu", "rescale": True}
        x = torch.randn((n, D), generator=generator)
    module = make_module(NADE, conditional, D, (H,), generator, **kwargs)
    twin = loop(module.network, by_index=by_index)
    ours, theirs = module.loss(x[None])[0], twin(x)
    torch.testing.assert_close(theirs, ours)
    ours.sum().backward(), theirs.sum().backward()
    for name, p in twin.named_parameters():
        of_ours = getattr(module.network, name).grad[0]
        torch.testing.assert_close(p.grad, of_ours, atol=1e-5, rtol=1e-4)


def test_masked_linear_layers_have_our_loss_and_learn(generator):
    D = 4
    module = make_module(MADE, gaussians(D, 1), D, (8, 8), generator)
    x = torch.randn((64, D), generator=generator).clamp(-4.0, 4.0)
    twin = MaskedLinearMADE(module.network)
    torch.testing.assert_close(twin(x), module.loss(x[None])[0])
    x = 0.1 * x + 2.0
    before = twin(x).mean().item()
    mean = train_as_in_tutorials(twin, x, n_epochs=3, batch_size=8)
    assert mean < before and twin(x).mean().item() < before
    slopes = torch.autograd.functional.jacobian(lambda v: twin.layers(v[None])[0], x[0])
    assert slopes.view(D, 2, D).diagonal(dim1=0, dim2=2).eq(0.0).all()


@pytest.mark.parametrize("network", [MADE, NADE])
def test_a_pass_per_column_draws_our_rows(network, generator):
    module = make_module(network, bernoulli(6), 6, (8,), generator)
    ours = module.sample(50, torch.Generator().manual_seed(1))
    slow = sample_by_forward(module, 50, torch.Generator().manual_seed(1), 6)
    torch.testing.assert_close(slow, ours)


def test_plain_loops_have_our_log_density_of_sequences(generator):
    T, B, D = 5, 3, 6
    module = speed_networks.make_sequence_module(D, 4, generator)
    x = bits((B * T, D), 0.3, generator)
    ours = -module.frame_log_prob(x, np.full(B, T), 256).sum().float()
    torch.testing.assert_close(PlainLoops(module)(x.split(T)).detach(), ours)


# Suites ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suite",
    [
        speed_networks.sampling,
        speed_networks.sequences,
        speed_networks.roofline,
        speed_estimators.scaling,
    ],
)
def test_suites_run_and_give_numbers(suite):
    rows = list(suite(QUICK))
    assert rows and all(math.isfinite(row.ratio) for row in rows)
    equal = [row.ratio for row in rows if "equal draws" in row.what]
    assert all(share == 1.0 for share in equal)


def test_memory_of_the_loop_grows_with_the_columns_and_ours_with_the_weights(generator):
    def make(D):
        network = make_module(
            NADE, bernoulli(D), D, (16,), generator, activation="logistic"
        )
        made = {"eager": network, "loop": NADELoop(network.network)}
        return made, bits((64, D), 0.2, generator)

    *_, ours = speed_networks._memory_rows("NADE", "eager", make, (8, 32))
    *_, loop = speed_networks._memory_rows("NADE", "loop", make, (8, 32))
    assert loop.ratio > 0.9 and ours.ratio < 0.4 * loop.ratio


def test_training_goes_on_from_a_fit_with_its_parameters(monkeypatch):
    calls = []

    def spy(module, rows, train_index, valid_index, **kwargs):
        calls.append((train_index.shape, kwargs))
        return train(module, rows, train_index, valid_index, **kwargs)

    train = speed_training.train
    monkeypatch.setattr(speed_training, "train", spy)
    X = speed_training.real_rows(96, 3)
    model = MADEDensity((8,), n_orderings=2, weight_decay=0.3, device="cpu")
    speed_training.fitted_once(model, X, 32)
    before = [p.detach().clone() for p in model.module_.parameters()]
    x = speed_training.codes(model, X)
    speed_training.train_epochs(model, x, 2)
    ((shape, kwargs),) = calls
    assert shape == (2, 96) and kwargs["max_iter"] == 2
    assert kwargs["weight_decay"] == 0.3 and kwargs["batch_size"] == 32
    after = list(model.module_.parameters())
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    after = [p.detach().clone() for p in after]
    speed_training.bare_steps(model, x, 2)()  # on a copy
    for a, b in zip(model.module_.parameters(), after, strict=True):
        torch.testing.assert_close(a.detach(), b)


def test_the_search_tells_its_threads():
    X = speed_training.real_rows(60, 2)
    assert speed_estimators.search(X, 1, 2) == torch.get_num_threads()


def test_omp_num_threads_is_put_back(monkeypatch):
    monkeypatch.setattr(speed_estimators, "search", lambda X, n_jobs, n: 1.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    cases = {row.case for row in speed_estimators.parallel(QUICK)}
    assert len(cases) == 2 and os.environ["OMP_NUM_THREADS"] == "2"


# The record --------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, tmp_path):
    """speed.py on two suites of its own, which notes `ratio` and may fail."""

    def first(options):
        yield Row("small", "theirs / ours", 2.0, 1.5, 2.5, 3.0, "loop", 6.0, "≥ 2")
        yield figure("large", "share", -0.25, note="noted")

    def second(options):
        yield Row("only", "ours / theirs", float(options.repeats), target="≤ 3")
        if options.full_fit:
            raise ValueError("no such thing")

    monkeypatch.setattr(speed, "SUITES", {"first": first, "second": second})

    def call(*arguments):
        argv = ["/somewhere/speed.py", "--record", str(tmp_path), *arguments]
        monkeypatch.setattr(sys, "argv", argv)
        speed.main()
        return pd.read_csv(tmp_path / "speed.csv")

    return call


def test_the_record_keeps_what_a_run_leaves_out(run, tmp_path, capsys):
    record = run("--repeats", "5")
    assert record["suite"].tolist() == ["first", "first", "second"]
    printed = capsys.readouterr().out
    assert "theirs / ours: 2 (1.5 … 2.5) | target ≥ 2 | 3 ms / 6 ms" in printed
    record = run("--suite", "second", "--repeats", "9")
    assert record["suite"].tolist() == ["first", "first", "second"]
    assert record["ratio"].tolist() == [2.0, -0.25, 9.0]
    text = (tmp_path / "speed.md").read_text()
    assert "| small | theirs / ours | 2 (1.5 … 2.5) | ≥ 2 | 3 ms / 6 ms |  |" in text
    assert "| large | share | −0.25 |  |  | noted |" in text
    assert "python benchmarks/speed.py --suite second --repeats 9" in text
    assert "python benchmarks/speed.py --suite first --repeats 5" in text
    assert f"torch {torch.__version__}, " in text
    assert "somewhere" not in text and str(tmp_path) not in text


def test_a_suite_that_fails_is_told_and_the_others_go_on(run, tmp_path, capsys):
    run()
    with pytest.raises(SystemExit, match="second"):
        run("--full-fit", "--suite", "second", "first")
    printed = capsys.readouterr().out
    assert "second failed" in printed and "ValueError: no such thing" in printed
    assert printed.rindex("first | large") > printed.index("ValueError")
    assert len(pd.read_csv(tmp_path / "speed.csv")) == 3


def test_sizes_replace_their_cases_only(tmp_path):
    path = tmp_path / "speed.csv"
    rows = [
        {"suite": "fit", "case": case, "what": "fit", "ratio": ratio, "target": ""}
        for case, ratio in [("10 x 2", 1.0), ("20 x 2", 2.0)]
    ]
    speed.updated(path, "fit", rows, whole=True).to_csv(path, index=False)
    new = [{**rows[1], "ratio": 3.0}]
    record = speed.updated(path, "fit", new, whole=False)
    assert dict(zip(record["case"], record["ratio"], strict=True)) == {
        "10 x 2": 1.0,
        "20 x 2": 3.0,
    }
    assert len(speed.updated(path, "fit", new, whole=True)) == 1


def test_the_curves_are_drawn(tmp_path):
    rows = [
        figure(f"step, rows: {n}", speed_estimators.PER_ONE, 1.0, ours_ms=2.0 * n)
        for n in (1, 2, 4)
    ]
    rows.append(figure("step, rows", "slope", 1.0))
    record = pd.DataFrame([vars(row) | {"suite": "scaling"} for row in rows])
    assert speed.draw(record, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert not speed.draw(record[-1:], tmp_path / "none.png")


def test_every_suite_is_told_of():
    told = {line.split("  ")[0] for line in speed.__doc__.splitlines()}
    assert set(speed.SUITES) <= told
