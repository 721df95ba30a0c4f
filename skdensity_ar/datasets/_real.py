"""Loaders of small real data sets, after the conventions of ``sklearn.datasets``."""

import gzip
from contextlib import contextmanager
from importlib import resources

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.utils import Bunch


def _open(file_name):
    """Open the named file of ``datasets/data`` for reading as bytes."""
    # Through a file object: inside a zip archive there is no path to hand on.
    path = resources.files("skdensity_ar.datasets") / "data" / file_name
    return path.open("rb")


@contextmanager
def _open_csv(file_name):
    """Open the named gzip'd file of ``datasets/data`` for reading as text."""
    with _open(file_name) as file, gzip.open(file, "rt", encoding="utf-8") as text:
        yield text


def load_wine_quality_red(*, return_X_y=False, as_frame=False):
    """Load eleven physico-chemical measurements of 1599 red wines.

    ================  =====================================
    Rows              1599 (1359 different ones)
    Columns           11, real, rounded to a few decimals
    Target            quality, whole marks from 3 to 8
    Missing cells     none
    ================  =====================================

    The values are repeated in two ways that a density estimator meets: 240 rows
    are copies of others, so that a random split puts the same wine on both sides
    unless the copies are dropped first; and every column is rounded, so that a
    continuous density that may become arbitrarily narrow gains without bound.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, ``data`` is a pandas DataFrame and ``target`` a Series.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray or DataFrame of shape (1599, 11), float64
            The measurements, in the order of UCI's file.
        target : ndarray or Series of shape (1599,), int64
            The median mark of at least three tasters.
        folds : ndarray of shape (1599,), int64
            The test fold, 0 to 9, of each row in the RNADE paper [2]_, for those
            who want to repeat its experiment:
            ``PredefinedSplit(bunch.folds)`` yields the ten splits.
        feature_names : list of str
            Names of the eleven columns; the units are g/dm³, but for the two
            sulphur dioxides (mg/dm³), density (g/cm³), pH and alcohol (% vol.).
        target_names : list of str
            ``["quality"]``.
        frame : DataFrame of shape (1599, 12) or None
            ``data`` and ``target``, if ``as_frame=True``.
        DESCR : str
            This text.

    (data, target) : tuple
        If ``return_X_y=True``.

    Notes
    -----
    Red *vinho verde* wines from Portugal, measured by CVRVV and published by
    Cortez et al. [1]_ in the UCI Machine Learning Repository,
    https://doi.org/10.24432/C56S3T, under the Creative Commons Attribution 4.0
    International licence (CC BY 4.0).

    References
    ----------
    .. [1] P. Cortez, A. Cerdeira, F. Almeida, T. Matos, J. Reis, "Modeling wine
           preferences by data mining from physicochemical properties", Decision
           Support Systems 47(4), 547-553, 2009.
    .. [2] B. Uria, I. Murray, H. Larochelle, "RNADE: the real-valued neural
           autoregressive density-estimator", NIPS 2013.

    Examples
    --------
    >>> from skdensity_ar.datasets import load_wine_quality_red
    >>> wine = load_wine_quality_red()
    >>> wine.data.shape
    (1599, 11)
    >>> wine.feature_names[-3:]
    ['pH', 'sulphates', 'alcohol']
    """
    with _open_csv("winequality_red.csv.gz") as text:
        names = text.readline().strip().split(",")
        table = np.loadtxt(text, delimiter=",")  # (1599, 13), every decimal exact
    feature_names = names[:-2]
    data = table[:, :-2]
    target, folds = table[:, -2:].astype(np.int64).T
    frame = None
    if as_frame:
        data = pd.DataFrame(data, columns=feature_names)
        target = pd.Series(target, name="quality")
        frame = data.assign(quality=target)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        folds=folds,
        feature_names=feature_names,
        target_names=["quality"],
        frame=frame,
        DESCR=load_wine_quality_red.__doc__,
    )


def load_penguins(*, dropna=False):
    """Load body measurements, species, island and sex of 344 penguins.

    A small mixed table: three columns of strings, four measurements and a year.
    It is meant to be modelled whole, so that ``species`` is a column like the
    others and there is no target.

    ================  ======================================================
    Rows              344; 333 of them complete
    Species           152 Adelie, 124 Gentoo, 68 Chinstrap
    Strings           species, island, sex
    Measurements      bill_length_mm, bill_depth_mm, flipper_length_mm,
                      body_mass_g
    Missing cells     2 in each measurement, 11 in sex
    ================  ======================================================

    Parameters
    ----------
    dropna : bool, default=False
        If True, rows with a missing cell are left out; the index then still says
        which rows of the whole table are there.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : DataFrame of shape (344, 8), or (333, 8) if ``dropna=True``
            ``species``, ``island`` and ``sex`` are strings, ``year`` is int64
            (2007 to 2009), the measurements are float64; a missing cell is NaN.
        frame : DataFrame
            The same frame.
        feature_names : list of str
            Names of the eight columns.
        DESCR : str
            This text.

    Notes
    -----
    Adult penguins around Palmer Station, Antarctica, collected by Gorman et al.
    [1]_ and published as the palmerpenguins data [2]_ under CC0 1.0.

    References
    ----------
    .. [1] K. B. Gorman, T. D. Williams, W. R. Fraser, "Ecological sexual dimorphism
           and environmental variability within a community of Antarctic penguins
           (genus Pygoscelis)", PLoS ONE 9(3), e90081, 2014.
    .. [2] A. M. Horst, A. P. Hill, K. B. Gorman, "palmerpenguins: Palmer
           Archipelago (Antarctica) penguin data", 2020,
           https://doi.org/10.5281/zenodo.3960218.

    Examples
    --------
    >>> from skdensity_ar.datasets import load_penguins
    >>> penguins = load_penguins()
    >>> penguins.data.shape
    (344, 8)
    >>> penguins.data["species"].value_counts().to_dict()
    {'Adelie': 152, 'Gentoo': 124, 'Chinstrap': 68}
    >>> load_penguins(dropna=True).data.shape
    (333, 8)
    """
    with _open_csv("penguins.csv.gz") as text:
        frame = pd.read_csv(text)  # NA is among the marks that pandas knows
    if dropna:
        frame = frame.dropna()
    return Bunch(
        data=frame,
        frame=frame,
        feature_names=list(frame.columns),
        DESCR=load_penguins.__doc__,
    )


def load_binary_digits(*, threshold=8, return_X_y=False):
    """Load scikit-learn's 8 x 8 digits with every pixel made 0 or 1.

    ================  =====================================
    Rows              1797 (1750 different ones at 8)
    Columns           64, in {0, 1}
    Target            the digit, 0 to 9
    ================  =====================================

    Parameters
    ----------
    threshold : float, default=8
        A pixel, 0 to 16 in :func:`sklearn.datasets.load_digits`, is 1 where it is
        at least this value.
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : ndarray of shape (1797, 64), float64
            The pixels, 0.0 or 1.0, row by row of the image.
        images : ndarray of shape (1797, 8, 8), float64
            The same pixels as images.
        target : ndarray of shape (1797,), int64
            The digits.
        feature_names : list of str
            ``pixel_<row>_<column>``.
        target_names : ndarray of shape (10,)
            The ten digits.
        DESCR : str
            This text.

    (data, target) : tuple
        If ``return_X_y=True``.

    Notes
    -----
    The test part of the UCI data set "Optical Recognition of Handwritten Digits"
    by E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49, as it
    comes with scikit-learn.

    Examples
    --------
    >>> from skdensity_ar.datasets import load_binary_digits
    >>> digits = load_binary_digits()
    >>> digits.data.shape, digits.data.min(), digits.data.max()
    ((1797, 64), np.float64(0.0), np.float64(1.0))
    """
    digits = load_digits()
    data = (digits.data >= threshold).astype(np.float64)
    target = digits.target.astype(np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        images=data.reshape(-1, 8, 8),
        target=target,
        feature_names=list(digits.feature_names),
        target_names=digits.target_names,
        DESCR=load_binary_digits.__doc__,
    )


def load_japanese_vowels(*, return_X_y=False):
    """Load 640 utterances of the Japanese vowels /ae/ by nine men, as sequences.

    ================  ==========================================
    Sequences         640 (270 training, then 370 test)
    Time steps        7 to 29 a sequence, 9961 in all
    Columns           12, real, with six decimals
    Target            the speaker, 1 to 9
    Missing cells     none
    ================  ==========================================

    The published split is no random one: the training part has 30 utterances of each
    speaker, the test part 24 to 88, recorded on other occasions.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        data : list of 640 ndarray of shape (n_timesteps, 12), float64
            The utterances, one frame every 6.4 ms, in the order of UCI's files
            ``ae.train`` and ``ae.test``.
        target : ndarray of shape (640,), int64
            The speakers, numbered as there.
        train_index : ndarray of shape (270,), int64
            Places of the published training sequences: 0 to 269.
        test_index : ndarray of shape (370,), int64
            Places of the published test sequences: 270 to 639.
        feature_names : list of str
            ``cepstrum_1`` to ``cepstrum_12``: coefficients of the cepstrum of a linear
            prediction of degree 12, over frames of 25.6 ms sampled at 10 kHz.
        target_names : list of str
            ``["speaker"]``.
        DESCR : str
            This text.

    (data, target) : tuple
        If ``return_X_y=True``.

    Notes
    -----
    Recorded by Kudo, Toyama and Shimbo [1]_ and published in the UCI Machine
    Learning Repository, https://doi.org/10.24432/C5NS47, under the Creative Commons
    Attribution 4.0 International licence (CC BY 4.0).

    References
    ----------
    .. [1] M. Kudo, J. Toyama, M. Shimbo, "Multidimensional curve classification
           using passing-through regions", Pattern Recognition Letters 20(11-13),
           1103-1111, 1999.

    Examples
    --------
    >>> from skdensity_ar.datasets import load_japanese_vowels
    >>> vowels = load_japanese_vowels()
    >>> len(vowels.data), vowels.data[0].shape, vowels.data[1].shape
    (640, (20, 12), (26, 12))
    >>> train = [vowels.data[i] for i in vowels.train_index]
    >>> len(train), sum(len(x) for x in train)
    (270, 4274)
    """
    with _open("japanese_vowels.npz") as file, np.load(file) as arrays:
        frames, lengths = arrays["frames"], arrays["lengths"]
        target = arrays["speaker"].astype(np.int64)
    # The file has them as float32, which keeps the six decimals of the published ones.
    frames = frames.astype(np.float64).round(6)  # (9961, 12)
    data = np.split(frames, np.cumsum(lengths)[:-1])
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        train_index=np.arange(270),
        test_index=np.arange(270, 640),
        feature_names=[f"cepstrum_{j}" for j in range(1, 13)],
        target_names=["speaker"],
        DESCR=load_japanese_vowels.__doc__,
    )
