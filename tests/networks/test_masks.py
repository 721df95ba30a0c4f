"""Orderings, degrees and masks against masks written out by loops."""

import pytest
import torch

from skdensity_ar.networks import MADE, _masks
from tests import reference
from tests.properties import NETWORKS, make_orderings

CASES = [
    # widths of the inputs, widths of the outputs, hidden layer sizes
    ([1, 1, 1, 1, 1], [1, 1, 1, 1, 1], (8, 6)),
    ([2, 1, 3, 1], [6, 1, 3, 9], (7, 5, 4)),
    ([1, 0, 2], [3, 0, 2], (4,)),  # a constant column has no units
    ([1] * 9, [3] * 9, (4,)),  # fewer hidden units than degrees
    ([1], [3], (3,)),
]


@pytest.mark.parametrize("kind", ["natural", "reversed", "random"])
@pytest.mark.parametrize(("n_inputs", "n_params", "sizes"), CASES)
def test_masks_equal_those_of_the_paper(n_inputs, n_params, sizes, kind):
    orderings = make_orderings(kind, len(n_inputs), 2)
    network = MADE(n_inputs, n_params, orderings, hidden_layer_sizes=sizes)
    for e, ordering in enumerate(orderings.tolist()):
        m_in, m_hidden = reference.made_degrees(ordering, n_inputs, sizes)
        m_out, _ = reference.made_degrees(ordering, n_params, ())
        m = m_in
        for layer, m_next in enumerate(m_hidden):
            mask = getattr(network, f"M{layer}")[e].numpy()
            assert (mask == reference.made_hidden_mask(m_next, m)).all()
            m = m_next
        assert (network.M_V[e].numpy() == reference.made_output_mask(m_out, m)).all()
        direct = reference.made_output_mask(m_out, m_in)
        assert (network.M_A[e].numpy() == direct).all()


def test_the_lecture_draws_the_same_mask():
    """The 5 × 5 mask of the lecture notes on MADE: degrees 1, 2, 1, 2, 3 -> 1 … 3."""
    drawn = [
        [1, 0, 1, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 0, 1, 0, 0],
        [1, 1, 1, 1, 1],
    ]
    m_before, m = torch.tensor([1, 2, 1, 2, 3]), torch.tensor([1, 1, 2, 1, 3])
    assert _masks.hidden_mask(m, m_before).int().tolist() == drawn


@pytest.mark.parametrize("n_columns", [2, 3, 7, 10])
@pytest.mark.parametrize("n_units", [1, 2, 9, 23])
def test_hidden_degrees_are_spread_evenly(n_columns, n_units):
    m = _masks.hidden_degrees(n_units, n_columns, torch.device("cpu"))
    assert m.min() == 1
    assert m.max() <= n_columns - 1
    assert (m.diff() >= 0).all()
    counts = m.bincount(minlength=n_columns)[1:]
    assert counts.max() - counts.min() <= 1
    if n_units >= n_columns - 1:
        assert counts.min() >= 1


def test_a_direct_connection_sees_what_a_deep_path_may_see():
    """M^V M^W … M^W has a path exactly where M^A, the order itself, is 1."""
    D, sizes = 6, (11, 7)
    ordering = make_orderings("random", D, 1)
    network = MADE([1] * D, [1] * D, ordering, hidden_layer_sizes=sizes)
    paths = network.M_V[0].double() @ network.M1[0].double() @ network.M0[0].double()
    assert torch.equal(paths > 0, network.M_A[0] > 0)


@pytest.mark.parametrize("widths", [[1, 1, 1], [2, 0, 3], [0, 0], [4]])
def test_slots_hold_every_unit_once_in_the_order_of_the_visit(widths):
    ordering = make_orderings("random", len(widths), 3)
    slots = _masks.unit_slots(ordering, widths)
    units = reference.units_of(widths)
    for e, columns in enumerate(ordering.tolist()):
        for t, d in enumerate(columns):
            padding = [sum(widths)] * (max(widths) - widths[d])
            assert slots[e, t].tolist() == units[d] + padding


@pytest.mark.parametrize("name", NETWORKS)
def test_an_ordering_is_never_changed(name):
    ordering = make_orderings("random", 5, 2)
    network = NETWORKS[name]([1] * 5, [1] * 5, ordering.clone())
    assert torch.equal(network.ordering, ordering)
    inverse = _masks.positions(ordering)
    assert torch.equal(ordering.gather(-1, inverse), torch.arange(5).expand(2, -1))
