"""The picture of the tour: the data beside what was drawn, and the scores."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DATA, OURS, RIVAL = "#5b6770", "#d1495b", "#2e6f9e"
SPECIES = {"Adelie": "#e08e0b", "Chinstrap": "#9b5fc0", "Gentoo": "#16877a"}


def draw(outcomes, path, seed):
    """Draw the outcomes of wine, digits, penguins and vowels, and write a PNG."""
    figure = Figure(
        figsize=(16.5, 16.8), dpi=110, layout="constrained", facecolor="white"
    )
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(
        "skdensity_ar: fitted on 80 % of the data, sampled, scored on the other 20 %",
        fontsize=16,
        fontweight="bold",
    )
    rows = np.asarray(figure.subfigures(4, 1))
    drawers = (_wine, _digits, _penguins, _vowels)
    for row, outcome, panels in zip(rows, outcomes, drawers, strict=True):
        row.get_layout_engine().set(wspace=0.03)
        axes = row.subplots(1, 4)
        ours = outcome.best_of_ours
        n = len(outcome.study.X)
        row.suptitle(
            f"{outcome.study.name}: {outcome.study.extent}",
            fontsize=13,
            x=0.01,
            ha="left",
        )
        panels(axes, outcome, outcome.models[ours].sample(n, random_state=seed))
        _scores(axes[3], outcome)
    canvas.print_png(str(path), metadata={"Title": "skdensity_ar tour"})


def _samples_of(outcome):
    return f"samples of {outcome.best_of_ours}"


def _wine(axes, outcome, drawn):
    X = outcome.study.X
    across, up = "free sulfur dioxide", "total sulfur dioxide"
    limits = [_limits(X[column]) for column in (across, up)]
    for ax, rows, title, colour in (
        (axes[0], X, "data", DATA),
        (axes[1], drawn, _samples_of(outcome), OURS),
    ):
        ax.scatter(rows[across], rows[up], s=9, alpha=0.45, lw=0, color=colour)
        ax.axline((0, 0), slope=1, color="black", lw=0.8, ls="--")
        ax.text(limits[0][1], 2, "total = free, no wine below", ha="right", fontsize=9)
        _finish(ax, title, f"{across} (mg/dm³)", f"{up} (mg/dm³)", *limits)
        _say_outside(ax, rows[[across, up]], limits)
    column = "alcohol"
    _compare_histograms(
        axes[2], "one column", X[column], drawn[column], f"{column} (% vol.)"
    )


def _digits(axes, outcome, drawn):
    X = outcome.study.X
    rng = np.random.RandomState(0)
    titled = ((axes[0], X, "data"), (axes[1], drawn, _samples_of(outcome)))
    for ax, rows, title in titled:
        chosen = rng.choice(len(rows), 64)
        _mosaic(ax, rows.to_numpy()[chosen], 8)
        ax.set_title(title)
    log_p = outcome.log_p[outcome.best_of_ours][0]
    worst = outcome.splits[0][1][np.argsort(log_p)[:16]]
    _mosaic(axes[2], X.to_numpy()[worst], 4)
    axes[2].set_title("least probable of the held-out digits")


def _penguins(axes, outcome, drawn):
    X = outcome.study.X
    across, up = "bill_length_mm", "bill_depth_mm"
    limits = [_limits(X[column]) for column in (across, up)]
    titled = ((axes[0], X, "data"), (axes[1], drawn, _samples_of(outcome)))
    for ax, rows, title in titled:
        for species, colour in SPECIES.items():
            some = rows[rows["species"] == species]
            ax.scatter(
                some[across],
                some[up],
                s=14,
                alpha=0.7,
                lw=0,
                color=colour,
                label=species,
            )
        _finish(ax, title, "bill length (mm)", "bill depth (mm)", *limits)
        _say_outside(ax, rows[[across, up]], limits)
    axes[0].legend(frameon=False, loc="lower right", handletextpad=0.1)

    pairs = [rows["species"] + ", " + rows["island"] for rows in (X, drawn)]
    shares = [pair.value_counts(normalize=True) for pair in pairs]
    names = list(shares[0].index)
    never = 1 - shares[1].reindex(names, fill_value=0).sum()
    heights = [
        [*share.reindex(names, fill_value=0), rest]
        for share, rest in zip(shares, (0.0, never), strict=True)
    ]
    y = np.arange(len(names) + 1)
    axes[2].barh(y - 0.2, heights[0], 0.38, color=DATA, label="data")
    axes[2].barh(y + 0.2, heights[1], 0.38, color=OURS, label="samples")
    axes[2].set_yticks(y, [*names, "never seen"])
    axes[2].invert_yaxis()
    axes[2].legend(frameon=False, loc="lower right")
    _finish(axes[2], "species and island", "share of the rows", "")


def _vowels(axes, outcome, drawn):
    X = outcome.study.X
    n_drawn = min(24, len(X))
    rng = np.random.RandomState(0)
    some, some_drawn = (
        [sequences[i][:, :2] for i in rng.choice(len(X), n_drawn, replace=False)]
        for sequences in (X, drawn)
    )
    limits = [_limits(column) for column in np.concatenate(some + some_drawn).T]
    for ax, paths, title, colour in (
        (axes[0], some, "data", DATA),
        (axes[1], some_drawn, _samples_of(outcome), OURS),
    ):
        for path in paths:
            ax.plot(*path.T, color=colour, lw=1, alpha=0.6)
            ax.plot(*path[0], "o", color=colour, ms=4)
        across = f"cepstrum 1 ({n_drawn} utterances, each from its dot on)"
        _finish(ax, title, across, "cepstrum 2", *limits)
    data_steps, drawn_steps = (
        np.concatenate([np.diff(x[:, 0]) for x in sequences])
        for sequences in (X, drawn)
    )
    label = "cepstrum 1, less that of the frame before"
    title = "change from frame to frame"
    _compare_histograms(axes[2], title, data_steps, drawn_steps, label)


def _scores(ax, outcome):
    """Histograms of the held-out log-densities, ours and the best rival's."""
    names = outcome.best_of_ours, outcome.best_rival
    log_p = [outcome.rates(name) for name in names]
    everything = np.concatenate(log_p)
    low, high = np.quantile(everything, 0.01), everything.max()
    bins = np.linspace(low, high, 36)
    for values, name, colour in zip(log_p, names, (OURS, RIVAL), strict=True):
        ax.hist(
            np.maximum(values, low),
            bins,
            histtype="stepfilled",
            color=colour,
            alpha=0.35,
        )
        ax.hist(np.maximum(values, low), bins, histtype="step", color=colour, lw=1.5)
        mean = outcome.means(name).mean()
        label = f"{name}, mean {mean:.2f}"
        ax.axvline(mean, ymax=0.8, color=colour, lw=1.8, ls="--", label=label)
    _finish(
        ax,
        f"log p of held-out {outcome.study.example}s, all splits",
        f"nats per {outcome.study.unit} (left bin: all below)",
        f"{outcome.study.example}s",
    )
    ax.set_ylim(top=1.3 * ax.get_ylim()[1])
    ax.legend(frameon=False, loc="upper left", fontsize=9)


def _compare_histograms(ax, title, data, drawn, label):
    low, high = _limits(data)
    bins = np.linspace(low, high, 45)
    ax.hist(data, bins, density=True, color=DATA, alpha=0.4, label="data")
    ax.hist(
        drawn, bins, density=True, histtype="step", color=OURS, lw=1.8, label="samples"
    )
    ax.legend(frameon=False)
    _finish(ax, title, label, "density", (low, high))


def _mosaic(ax, rows, n_side):
    """Draw n_side² rows of 64 pixels as one image."""
    image = np.full((9 * n_side + 1, 9 * n_side + 1), 0.25)
    for i, row in enumerate(rows):
        down, right = 9 * (i // n_side) + 1, 9 * (i % n_side) + 1
        image[down : down + 8, right : right + 8] = row.reshape(8, 8)
    ax.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()


def _limits(values):
    """Return the range of the values with a margin."""
    low, high = values.min(), values.max()
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _say_outside(ax, rows, limits):
    inside = np.ones(len(rows), bool)
    for column, (low, high) in zip(rows.columns, limits, strict=True):
        inside &= rows[column].between(low, high).to_numpy()
    if not inside.all():
        ax.text(
            0.98,
            0.98,
            f"{(~inside).sum()} of {len(rows)} outside",
            transform=ax.transAxes,
            ha="right",
            va="top",
            fontsize=9,
        )


def _finish(ax, title, across, up, x_limits=None, y_limits=None):
    ax.set_title(title)
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    ax.set_xlim(x_limits)
    ax.set_ylim(y_limits)
    ax.spines[["top", "right"]].set_visible(False)
