import numpy as np
import pytest
import torch

from trainer.integer_layers import IntegerLinear
from trainer.integer_products import can_multiply_integers

pytestmark = pytest.mark.skipif(not can_multiply_integers(), reason="this CPU has no AVX2")


def layer(width, height, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(height, width, generator=generator), torch.randn(height, generator=generator)


@pytest.mark.parametrize(
    ("count", "width", "height"), [(1, 1, 1), (5, 7, 3), (6, 16, 16), (40, 33, 50), (100, 384, 120)]
)
def test_a_layer_is_within_a_few_ten_thousandths_of_the_norms_of_float64(count, width, height):
    weight, bias = layer(width, height)
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(1))
    exact = rows.double() @ weight.double().T + bias.double()
    norms = rows.norm(dim=1)[:, None] * weight.norm(dim=1)
    found = IntegerLinear(weight, bias)(rows)
    assert (found.dtype, found.shape) == (torch.float32, (count, height))
    # Each number is off by half a step: 1 / 65,400 of the norm, or of the largest number 1 / 32,766, which is more where that
    # is over half of the norm. A row of K of them is off by sqrt(K) as much, and so is a column.
    bound = 2 * np.sqrt(width) / 32_700 + 1e-6
    assert ((found - exact).abs() <= bound * norms + 1e-6 * exact.abs()).all()


def test_a_row_gives_the_same_bits_whatever_rows_are_beside_it():
    linear = IntegerLinear(*layer(48, 40))
    rows = torch.randn(50, 48, generator=torch.Generator().manual_seed(2))
    together = linear(rows)
    assert torch.equal(together, torch.cat([linear(row[None]) for row in rows]))
    assert torch.equal(together[13:31], linear(rows[13:31]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_makes_its_row_or_column_nan(value):
    weight, bias = layer(8, 20)
    rows = torch.randn(7, 8, generator=torch.Generator().manual_seed(3))
    rows[4, 2] = value
    assert IntegerLinear(weight, bias)(rows).isnan().nonzero()[:, 0].unique().tolist() == [4]
    rows[4, 2] = 0
    weight[17, 3] = value
    assert IntegerLinear(weight, bias)(rows).isnan().nonzero()[:, 1].unique().tolist() == [17]


def test_rows_that_do_not_lie_one_after_the_other_are_taken_too():
    linear = IntegerLinear(*layer(6, 5))
    rows = torch.randn(6, 9, generator=torch.Generator().manual_seed(4))
    assert torch.equal(linear(rows.T), linear(rows.T.contiguous()))
