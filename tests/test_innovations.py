"""Innovations: a change of variables whose Jacobian is known, column after column."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from skdensity_ar._innovations import Innovations, fit_innovations
from tests.properties import generator, make_orderings

D, N_MEMBERS, P = 5, 3, 2
REAL = [0, 2, 3]
LENGTHS = np.array([6, 1, 4, 30, 2, 9])
MANY = np.full(30, 9)


def frames(seed=0, lengths=LENGTHS):
    """Sequences that a vector autoregression describes well; columns 1, 4 binary."""
    rng = generator(seed)
    x = torch.randn((int(lengths.sum()), D), generator=rng, dtype=torch.float64)
    A = torch.tensor([[0.9, 0.0, 0.2], [0.0, 0.5, 0.0], [0.1, 0.0, 0.8]]).double()
    for begin, n in zip(np.cumsum(lengths) - lengths, lengths, strict=True):
        for t in range(begin + 1, begin + n):
            x[t, REAL] = A @ x[t - 1, REAL] + 0.1 * x[t, REAL]
    x[:, [1, 4]] = (x[:, [1, 4]] > 0).double()
    return x


SMALLEST = np.array([1e-4, 1e-3, 1e-4])


def fitted(x=None, lengths=LENGTHS, n_lags=P):
    ordering = make_orderings("random", D, N_MEMBERS)
    x = frames(lengths=MANY) if x is None else x
    lengths = MANY if len(x) == MANY.sum() else lengths
    return fit_innovations(x, lengths, REAL, ordering, n_lags, SMALLEST), ordering


def diagonals(innovations):
    return innovations.L.diagonal(dim1=-2, dim2=-1)


def test_the_inverse_undoes_the_transform_frame_by_frame():
    innovations, _ = fitted()
    x = frames(1)
    z, _ = innovations.transform(x, LENGTHS)
    for begin, n in zip(np.cumsum(LENGTHS) - LENGTHS, LENGTHS, strict=True):
        for e in range(N_MEMBERS):
            for t in range(n):
                past = [x[begin + s][None] for s in range(t)]
                back = innovations.inverse(z[e, begin + t][None], past, e)
                torch.testing.assert_close(back[0], x[begin + t], rtol=0, atol=1e-12)


def test_columns_that_are_not_real_are_left_as_they_are():
    x = frames(1)
    z, _ = fitted()[0].transform(x, LENGTHS)
    assert torch.equal(z[..., [1, 4]], x[:, [1, 4]].expand(N_MEMBERS, -1, -1))


def test_the_jacobian_is_triangular_in_time_and_in_the_ordering():
    innovations, ordering = fitted()
    lengths = np.array([4])
    x = frames(2, lengths)
    J = jacobian(lambda x: innovations.transform(x, lengths)[0], x)
    _, log_det = innovations.transform(x, lengths)
    for e, order in enumerate(ordering.tolist()):
        flat = J[e][:, order][:, :, :, order].reshape(4 * D, 4 * D)
        assert flat.triu(1).eq(0.0).all()
        expected = -flat.diagonal().log().sum()
        torch.testing.assert_close(log_det[e].sum(), expected, rtol=0, atol=1e-12)
    # The past matters, as far as the lags go back and no further.
    assert J[0, 2, 0, 1].abs().max() > 0.01
    assert J[0, 3, 0, 0].eq(0.0).all()


def test_what_is_left_is_white():
    lengths = np.full(400, 9)
    x = frames(3, lengths)
    innovations, _ = fitted(x, lengths)
    z, _ = innovations.transform(x, lengths)
    later = np.tile(np.arange(9) >= P, 400)
    for e in range(N_MEMBERS):
        left = z[e][later][:, REAL]
        torch.testing.assert_close(
            left.T.cov(), torch.eye(3, dtype=torch.float64), rtol=0, atol=0.05
        )


def test_far_values_do_not_decide_the_regression():
    lengths = np.full(40, 9)
    x = frames(4, lengths)
    expected, _ = fitted(x, lengths)
    spoilt = x.clone()
    spoilt[100, REAL] = 1e12
    found, _ = fitted(spoilt, lengths)
    torch.testing.assert_close(found.A, expected.A, rtol=0, atol=0.02)
    torch.testing.assert_close(found.L, expected.L, rtol=0, atol=0.02)
    z, _ = found.transform(spoilt, lengths)
    assert z.isfinite().all()


@pytest.mark.parametrize("lengths", [[1], [2, 1], [1] * 30, [30]])
def test_few_frames(lengths):
    lengths = np.array(lengths)
    x = frames(5, lengths)
    innovations, _ = fitted(x, lengths, n_lags=3)
    z, log_det = innovations.transform(x, lengths)
    assert z.isfinite().all() and log_det.isfinite().all()
    # Too few to tell what a lag is worth.
    assert (innovations.A == 0.0).all()


def test_a_column_that_the_past_decides_keeps_a_scale():
    lengths = np.full(20, 12)
    t = torch.arange(12, dtype=torch.float64).repeat(20)
    x = torch.zeros((240, D), dtype=torch.float64)
    x[:, REAL] = torch.stack([t.sin(), t.cos(), (t / 2).sin()], 1)
    innovations, _ = fitted(x, lengths)
    assert isinstance(innovations, Innovations)
    assert (diagonals(innovations) >= torch.as_tensor(SMALLEST)).all()
    assert (diagonals(innovations)[-1] < 0.01).all()
    assert innovations.transform(x, lengths)[0].isfinite().all()


def test_few_frames_make_no_predictions_and_no_correlations():
    lengths = np.full(6, 4)
    innovations, _ = fitted(frames(6, lengths), lengths)
    assert (innovations.A == 0.0).all()
    off = innovations.L - torch.diag_embed(diagonals(innovations))
    assert (off == 0.0).all()


def test_first_frames_have_coefficients_of_their_own():
    # They lie elsewhere and spread less, which pooled frames would not tell.
    x = frames(7, MANY)
    first = np.cumsum(MANY) - MANY
    x[first] = 4.0 + 0.01 * torch.randn(len(first), D, generator=generator(0)).double()
    x[first[:, None], [1, 4]] = 1.0
    x = torch.cat([x] * 5)
    lengths = np.tile(MANY, 5)
    ordering = make_orderings("natural", D, 1)
    innovations = fit_innovations(x, lengths, REAL, ordering, P, SMALLEST)
    torch.testing.assert_close(
        innovations.m[0], torch.full((3,), 4.0).double(), rtol=0, atol=0.05
    )
    assert (diagonals(innovations)[0] < 0.05).all()
