"""The examples run as they are, print what they find and show one picture."""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


# What the oldest supported scikit-learn's LogisticRegression says of newer scipy.
@pytest.mark.filterwarnings("ignore:scipy.optimize.*iprint:DeprecationWarning")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, monkeypatch, capsys):
    monkeypatch.delenv("SKDENSITY_AR_DATA", raising=False)  # the package's data is all
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.extend(plt.get_fignums()))
    plt.switch_backend("Agg")
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        plt.close("all")
    assert len(shown) == 1
    assert any(c.isdigit() for c in capsys.readouterr().out)
