"""The embedding table's gradient, added up in place, against torch's own."""

import pytest
import torch

from trainer.embedding_table import add_gradients_in_place


@pytest.mark.parametrize("padding", [None, 0])
def test_the_gradient_is_torch_s(padding):
    torch.manual_seed(0)
    expected = torch.nn.Embedding(7, 3, padding_idx=padding).double()
    found = torch.nn.Embedding(7, 3, padding_idx=padding).double()
    found.load_state_dict(expected.state_dict())
    add_gradients_in_place(found)
    for token_ids in (torch.tensor([[0, 2, 2], [5, 6, 0]]), torch.tensor([[2, 1]])):
        factors = torch.randn(*token_ids.shape, 3, dtype=torch.float64)
        for table in (expected, found):
            (table(token_ids) * factors).sum().backward()
    torch.testing.assert_close(found.weight.grad, expected.weight.grad, rtol=1e-12, atol=1e-12)
    assert (found.weight.grad[3] == 0).all()


def test_the_gradient_goes_into_the_tensor_that_is_there():
    table = torch.nn.Embedding(4, 2)
    add_gradients_in_place(table)
    everything = torch.ones(10)
    table.weight.grad = everything[:8].view(4, 2)
    table(torch.tensor([1])).sum().backward()
    assert everything.tolist() == [1, 1, 2, 2, 1, 1, 1, 1, 1, 1]


def test_other_tables_stay_as_they_are():
    table = torch.nn.Embedding(4, 2, max_norm=1.0)
    add_gradients_in_place(table)
    assert "forward" not in vars(table)
