"""Imports inside the package point one way, as docs/architecture.md draws them."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "skdensity_ar"
FILES = sorted((ROOT / PACKAGE).rglob("*.py"))

# Layer -> the layers of the package that it may import, besides itself. A layer is a
# module or subpackage directly below the package, or the package's own __init__. The
# lowest layers come first, and a row names earlier rows only: there are no cycles.
TORCH_SIDE = {"networks", "conditionals"}
MIDDLE = {
    "_bijections",
    "_bounds",
    "_columns",
    "_completed",
    "_device",
    "_em",
    "_frames",
    "_gaussians",
    "_innovations",
    "_residuals",
    "_random",
    "_sequences",
    "_training",
    "_validation",
}
MODEL = TORCH_SIDE | {"_agnostic", "_estimate", "_module", "_predictive"}
PUBLIC = {"estimators", "datasets", "plotting"}
ALLOWED: dict[str, set[str]] = {
    "networks": set(),
    "conditionals": set(),
    "_residuals": {"conditionals"},
    "_predictive": {"conditionals"},
    "_module": TORCH_SIDE | {"_predictive", "_residuals"},
    "_gaussians": {"conditionals"},
    "_em": {"_gaussians", "conditionals"},
    "_agnostic": TORCH_SIDE | {"_gaussians", "_module", "_predictive"},
    "_estimate": TORCH_SIDE | {"_module", "_residuals"},
    "_bijections": set(),
    "_bounds": set(),
    "_frames": set(),
    "_columns": {"_bounds", "_frames", "conditionals"},
    "_device": set(),
    "_random": set(),
    "_validation": {"_frames"},
    "_training": MODEL,
    "_completed": {"_estimate", "_training"},
    "_innovations": {"conditionals"},
    "_sequences": MODEL | {"_innovations", "_training"},
    "datasets": MODEL | MIDDLE,
    "_baselines": MODEL | MIDDLE,
    "_sequence_baselines": {"_baselines"},
    "estimators": MODEL | MIDDLE,
    "plotting": MODEL | MIDDLE,
    "checks": set(),
    "__init__": MODEL | MIDDLE | PUBLIC | {"checks"},
    "_tour_picture": set(),
    "_tour": PUBLIC
    | {"_baselines", "_sequence_baselines", "_tour_picture", "__init__"},
    "__main__": PUBLIC | {"_tour", "__init__"},
}

# Layer -> the third-party packages that it must not import.
FORBIDDEN: dict[str, set[str]] = {
    "networks": {"sklearn", "pandas"},
    "conditionals": {"sklearn", "pandas"},
    "_agnostic": {"sklearn", "pandas"},
    "_completed": {"sklearn", "pandas"},
    "_estimate": {"sklearn", "pandas"},
    "_em": {"pandas"},
    "_gaussians": {"sklearn", "pandas"},
    "_module": {"sklearn", "pandas"},
    "_predictive": {"sklearn", "pandas"},
    "_training": {"sklearn", "pandas"},
    "_sequences": {"sklearn", "pandas"},
    "_columns": {"torch"},
    "_frames": {"torch", "sklearn"},
    "checks": {"torch", "pandas", "scipy", "pytest"},
}

# The only layer that may touch what scikit-learn keeps private.
SKLEARN_PRIVATE = "_validation"

NO_NAME_YET = {"util", "utils", "helper", "helpers", "misc", "common"}


def dotted_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def layer_of(dotted: str) -> str:
    """Layer of a name inside the package; public names are those of ``__init__``."""
    first = dotted.removeprefix(PACKAGE).removeprefix(".").split(".")[0]
    return first if first in ALLOWED else "__init__"


def imported_names(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import, also those inside functions.

    ``module`` is the dotted name of the file, with ``__init__`` written out.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: -node.level]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def is_private(component: str) -> bool:
    return component.startswith("_") and not component.startswith("__")


def violations(source: str, module: str) -> list[str]:
    """One sentence per import in ``source`` that points the wrong way."""
    layer = module.split(".")[1]
    if layer not in ALLOWED:
        return [
            f"{module}: the layer {layer!r} is not in the table; draw it in "
            "docs/architecture.md, then give it a row in tests/test_architecture.py"
        ]
    found = []
    for line, name in imported_names(source, module):
        top, *rest = name.split(".")
        where = f"{module}, line {line}: imports {name}"
        if top == PACKAGE and layer_of(name) not in ALLOWED[layer] | {layer}:
            may = ", ".join(sorted(ALLOWED[layer])) or "nothing of the package"
            found.append(f"{where}, but {layer} may import {may}")
        if top in FORBIDDEN.get(layer, ()):
            found.append(f"{where}, but {layer} must not know {top}")
        if top == "sklearn" and any(map(is_private, rest)) and layer != SKLEARN_PRIVATE:
            found.append(
                f"{where}, which scikit-learn keeps private; only "
                f"{SKLEARN_PRIVATE}.py may"
            )
    return found


def test_package_is_found():
    assert FILES, f"no Python file below {PACKAGE}/"


@pytest.mark.parametrize("path", FILES, ids=dotted_name)
def test_imports_point_one_way(path):
    found = violations(path.read_text(encoding="utf-8"), dotted_name(path))
    assert not found, "\n".join(["", *found])


def test_the_table_has_no_cycle():
    lower: set[str] = set()
    for layer, allowed in ALLOWED.items():
        assert allowed <= lower, f"{layer} may import {allowed - lower}, not below it"
        lower.add(layer)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("networks._made", "from skdensity_ar import conditionals", "nothing of"),
        ("networks._made", "from ..conditionals import get", "nothing of"),
        ("networks.__init__", "from .. import _random", "nothing of"),
        ("conditionals._mixtures", "import skdensity_ar.networks", "nothing of"),
        ("conditionals._mixtures", "import pandas as pd", "must not know pandas"),
        ("_module", "from sklearn.base import clone", "must not know sklearn"),
        (
            "_module",
            "from ._training import train",
            "may import _predictive, _residuals, cond",
        ),
        ("_training", "import sklearn", "must not know sklearn"),
        ("_training", "from .estimators import MADEDensity", "may import"),
        ("_columns", "def f():\n    import torch", "line 2: imports torch"),
        ("_random", "from skdensity_ar.estimators._base import x", "nothing of"),
        ("_module", "from skdensity_ar import MADEDensity", "may import"),
        ("checks", "from skdensity_ar.estimators import MADEDensity", "nothing of"),
        ("checks", "import torch", "must not know torch"),
        ("estimators._base", "import skdensity_ar", "may import"),
        ("estimators._made", "from sklearn.utils._tags import Tags", "keeps private"),
        ("estimators._made", "from sklearn.base import _fit_context", "keeps private"),
        ("estimators._made", "import sklearn.utils._tags", "keeps private"),
        ("utils", "", "not in the table"),
    ],
)
def test_a_planted_violation_is_seen(module, source, complaint):
    found = violations(source, f"{PACKAGE}.{module}")
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("networks._made", "import torch\nfrom ._masks import make_masks"),
        ("networks.__init__", "from ._made import MADE"),
        ("_module", "from skdensity_ar.conditionals import Bernoulli"),
        ("_columns", "import numpy as np\nfrom .conditionals import CONDITIONALS"),
        ("_validation", "from sklearn.utils._param_validation import Interval"),
        ("estimators._base", "from .._training import train\nimport sklearn.base"),
        ("estimators._base", "from sklearn import __version__"),
        ("__init__", "from .estimators import MADEDensity"),
        ("__main__", "from skdensity_ar import MADEDensity, datasets"),
    ],
)
def test_what_the_design_allows_passes(module, source):
    assert violations(source, f"{PACKAGE}.{module}") == []


def test_every_module_has_a_name():
    # "utils" says that a thing has no home yet; the one obvious file is its home.
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / PACKAGE).rglob("*")
        if (path.is_dir() or path.suffix == ".py")
        and path.stem.strip("_") in NO_NAME_YET
    ]
    assert not found, f"name these after what they hold: {found}"


# Python binds a subpackage to its parent once it is imported: that is no promise.
PRINT_PUBLIC_NAMES = """
import json, types
import skdensity_ar

def is_public(name):
    value = getattr(skdensity_ar, name)
    bound_by_python = (
        isinstance(value, types.ModuleType)
        and value.__name__ == f"skdensity_ar.{name}"
    )
    return not name.startswith("_") and not bound_by_python

visible, promised = dir(skdensity_ar), skdensity_ar.__all__
print(json.dumps([sorted(filter(is_public, names)) for names in (visible, promised)]))
"""


def test_the_package_exposes_exactly_its_all():
    # In a fresh interpreter: in this one, other tests have imported submodules.
    result = subprocess.run(
        [sys.executable, "-c", PRINT_PUBLIC_NAMES],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    visible, promised = json.loads(result.stdout)
    assert visible == promised
