"""The tour runs, prints a table that adds up and writes its picture."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from skdensity_ar import __main__
from skdensity_ar._tour import WIDTH, tour

MODELS = {
    "wine": ["MADEDensity", "RNADEDensity", "GaussianMixture", "KernelDensity"],
    "digits": ["NADEDensity", "MADEDensity", "BernoulliMixture"],
    "penguins": ["MADEDensity", "IndependentColumns", "PerClassGaussian"],
    "vowels": ["RNNRNADE", "GaussianVAR", "GaussianHMM"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Outcomes, lines and picture of a tiny tour."""
    picture = tmp_path_factory.mktemp("tour") / "picture.png"
    lines = []
    outcomes = tour(
        picture,
        n_splits=2,
        seed=1,
        max_rows=120,
        max_iter=2,
        small_grids=True,
        say=lines.append,
    )
    return outcomes, lines, picture


def test_table_has_every_model_and_its_numbers(run):
    outcomes, lines, _ = run
    rules = [i for i, line in enumerate(lines) if line and set(line) == {"-"}]
    assert len(rules) == len(MODELS) + 1
    assert lines[rules[0] - 1].split() == (
        "data model log p s.e. minus best rival s.e. fit (s)".split()
    )
    for outcome, data, begin in zip(outcomes, MODELS, rules, strict=False):
        rows = lines[begin + 1 : begin + 1 + len(MODELS[data])]
        assert rows[0].startswith(data)
        for name, row in zip(MODELS[data], rows, strict=True):
            cells = row.removeprefix(data).replace("(best rival)", "best nan").split()
            assert cells[0] == name and len(cells) == 6
            means = outcome.means(name)
            assert float(cells[1]) == pytest.approx(means.mean(), abs=0.0051)
            error = means.std(ddof=1) / np.sqrt(2)
            assert float(cells[2]) == pytest.approx(error, abs=0.0051)
            if name == outcome.best_rival:
                assert cells[3] == "best"
            else:
                rival = outcome.means(outcome.best_rival)
                difference = np.mean(means - rival)
                assert float(cells[3]) == pytest.approx(difference, abs=0.0051)


def test_all_models_score_the_same_held_out_rows(run):
    outcomes, _, _ = run
    assert [outcome.study.name for outcome in outcomes] == list(MODELS)
    for outcome in outcomes:
        assert list(outcome.log_p) == MODELS[outcome.study.name]
        n_test = len(outcome.splits[0][1])
        assert n_test == pytest.approx(0.2 * len(outcome.study.X), abs=1)
        for log_p in outcome.log_p.values():
            assert [len(log_p[i]) for i in range(2)] == [n_test, n_test]
            assert np.isfinite([log_p[0], log_p[1]]).all()


def test_sequences_are_scored_per_frame_and_rows_per_row(run):
    outcomes, lines, _ = run
    *tables, vowels = outcomes
    for name in MODELS["vowels"]:
        scores = [
            vowels.log_p[name][i].sum() / sum(len(vowels.study.X[j]) for j in test)
            for i, (_, test) in enumerate(vowels.splits)
        ]
        np.testing.assert_allclose(vowels.means(name), scores)
    _, test = vowels.splits[0]
    model = vowels.models["GaussianVAR"].best_estimator_
    held_out = [vowels.study.X[j] for j in test]
    assert vowels.mean("GaussianVAR", 0) == pytest.approx(model.score(held_out))
    for outcome in tables:
        name = outcome.best_rival
        assert outcome.rates(name).mean() == pytest.approx(outcome.means(name).mean())
    text = "\n".join(lines)
    for data in MODELS:
        unit = "frame" if data == "vowels" else "row"
        assert re.search(rf"^{data}: .* is ahead of .* nats per {unit}\b", text, re.M)
        assert len(re.findall(rf"^{data} .* nats/{unit} ", text, re.M)) == 2 * len(
            MODELS[data]
        )
    assert "vowels: per held-out frame" in text


def test_verdicts_and_least_probable_rows_are_put_into_words(run):
    outcomes, lines, _ = run
    text = "\n".join(lines)
    for data in MODELS:
        assert re.search(rf"^{data}: \w+ is ahead of \w+ by \d+\.\d\d ± ", text, re.M)
    for data, outcome in (("wine", outcomes[0]), ("penguins", outcomes[2])):
        assert re.search(rf"^{data}: the least probable held-out rows", text, re.M)
        worst = outcome.splits[0][1][np.argmin(outcome.log_p[outcome.best_of_ours][0])]
        assert f"  row {outcome.study.X.index[worst]}, log p " in text
    assert "240 duplicated rows" in text and "11 rows with missing cells" in text


def test_lines_fit_the_terminal_and_show_progress(run):
    _, lines, _ = run
    assert max(map(len, lines)) <= WIDTH
    progress = [line for line in lines if re.match(r"\w+ +split \d of 2 ", line)]
    assert len(progress) == 2 * sum(map(len, MODELS.values()))


def test_picture_is_a_png_of_a_sensible_size(run):
    data = run[2].read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert 1200 <= width <= 3000 and 1200 <= height <= 2500
    assert 50_000 < len(data) < 2_000_000


def test_command_line_passes_its_options_on(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(__main__, "tour", lambda *args, **kw: calls.append((args, kw)))
    assert __main__.main(["--output", "here.png", "--splits", "5", "--seed", "7"]) == 0
    assert __main__.main(["--quick"]) == 0
    assert calls[0][0] == (Path("here.png"),)
    assert calls[0][1]["n_splits"] == 5 and calls[0][1]["seed"] == 7
    assert "max_rows" not in calls[0][1] and "max_iter" not in calls[0][1]
    assert calls[1][0] == (Path("skdensity_ar_tour.png"),)
    assert calls[1][1]["n_splits"] == 1 and calls[1][1]["max_rows"] > 0
    # What cannot work is refused before the minutes of work, not after.
    for wrong in (["--splits", "0"], ["--output", str(tmp_path / "no" / "where.png")]):
        with pytest.raises(SystemExit):
            __main__.main(wrong)
    assert len(calls) == 2
