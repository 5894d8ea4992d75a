"""safetensors files written tensor by tensor."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainer.tensor_files import in_order_of_file, write_tensors

TENSORS = {
    "a byte": torch.tensor([255], dtype=torch.uint8),
    "half": torch.randn(3, 5).to(torch.bfloat16),
    "weights é": torch.randn(4, 3),
    "turned": torch.randn(4, 3).T,
    "wide": torch.randn(2, dtype=torch.float64),
    "one number": torch.tensor(7.5),
    "nothing": torch.empty(0, 9),
    "truth": torch.tensor([True, False, True]),
    "numbers": torch.arange(3),
    "small numbers": torch.tensor([-7], dtype=torch.int8),
    "eighths": torch.tensor([0.5, -2]).to(torch.float8_e4m3fn),
}


def test_the_file_is_read_by_safetensors_as_it_was_given(tmp_path):
    tensors = in_order_of_file(TENSORS)
    write_tensors(tmp_path / "a", tensors, iter(tensors.values()))
    found = load_file(tmp_path / "a")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_a_file_of_weights_is_the_one_that_safetensors_writes(tmp_path):
    tensors = in_order_of_file({"b.weight": torch.randn(3, 2), "ä": torch.randn(5), "a.bias": torch.randn(2)})
    write_tensors(tmp_path / "a", tensors, iter(tensors.values()))
    save_file(tensors, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_only_as_many_tensors_are_taken_as_the_file_holds(tmp_path):
    contents = iter([torch.zeros(2), torch.ones(2)])
    write_tensors(tmp_path / "a", {"first": torch.empty(2)}, contents)
    assert torch.equal(next(contents), torch.ones(2))


def test_a_tensor_of_complex_numbers_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match=r"spectrum is of torch\.complex64, which no checkpoint of ours holds"):
        write_tensors(tmp_path / "a", {"spectrum": torch.empty(2, dtype=torch.complex64)}, iter(()))
