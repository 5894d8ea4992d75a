"""The loss by compiled tiles against the whole matrix in float64 and against plain torch. Inductor makes C++ here: no GPU."""

import logging
import os
import shutil
import threading

import pytest
import torch

from trainer import fused, tiled_loss
from trainer.fused import Fused
from trainer.loss import Direction, GuideEmbeddings, LossMasks, LossSettings, contrastive_loss
from trainer.tiled_loss import LeftOut, log_sum_exp_of_scores

NO_COMPILER = shutil.which(os.environ.get("CXX", "g++")) is None
needs_compiler = pytest.mark.skipif(NO_COMPILER, reason="torch.compile needs a C++ compiler on the CPU")


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    """Functions that nothing was compiled for."""
    torch._dynamo.reset()
    monkeypatch.setattr(Fused, "compiler_works", True)
    for name in ("_sums_with", "_weights"):
        monkeypatch.setattr(tiled_loss, name, Fused(getattr(tiled_loss, name)._plain))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setattr(fused, "COMPILED_ON", ("cpu",))


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def unit(rows, seed, dtype=torch.float64):
    values = torch.randn(rows, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=1).to(dtype)


PAIRS, GROUP, TEMPERATURE, MARGIN, GUIDE_MARGIN = 45, 3, 0.05, 0.2, -0.1
FORBIDDEN = torch.rand(PAIRS, PAIRS * GROUP, generator=torch.Generator().manual_seed(1)) < 0.1
FORBIDDEN_BACK = torch.rand(PAIRS, PAIRS, generator=torch.Generator().manual_seed(2)) < 0.1
SYMMETRIC = torch.arange(PAIRS) % 3 != 0
FORBIDDEN[range(PAIRS), range(0, PAIRS * GROUP, GROUP)] = False
FORBIDDEN_BACK.fill_diagonal_(False)


def whole_matrix(queries, passages, guide_queries, guide_passages):
    """The loss of pairs with hard negatives in both directions, term by term over matrices of all scores."""

    def direction(scores, guide_scores, forbidden, own):
        rows = torch.arange(PAIRS)
        left_out = forbidden | (scores > scores[rows, own, None] + MARGIN)
        left_out |= guide_scores > guide_scores[rows, own, None] - GUIDE_MARGIN
        left_out[rows, own] = False
        logits = (scores / TEMPERATURE).masked_fill(left_out, -torch.inf)
        return torch.nn.functional.cross_entropy(logits, own, reduction="none")

    own, positives = torch.arange(PAIRS) * GROUP, passages[::GROUP]
    there = direction(queries @ passages.T, guide_queries @ guide_passages.T, FORBIDDEN, own)
    back = direction(
        positives @ queries.T, guide_passages[::GROUP] @ guide_queries.T, FORBIDDEN_BACK, torch.arange(PAIRS)
    )
    return torch.where(SYMMETRIC, (there + back) / 2, there).mean()


def in_tiles(queries, passages, guide_queries, guide_passages):
    there = Direction(0, GROUP, *FORBIDDEN.nonzero(as_tuple=True))
    back = Direction(0, 1, *FORBIDDEN_BACK.nonzero(as_tuple=True))
    masks = LossMasks(there, back, SYMMETRIC, in_batch=True, teacher=None, queries=PAIRS)
    chosen = LossSettings(temperature=TEMPERATURE, false_negative_margin=MARGIN, guide_margin=GUIDE_MARGIN)
    guide = GuideEmbeddings(guide_queries, guide_passages, guide_queries)
    return contrastive_loss(queries, passages, masks, chosen, guide=guide)


def with_gradients(loss, dtype):
    leaves = [unit(PAIRS, 3, dtype).requires_grad_(), unit(PAIRS * GROUP, 4, dtype).requires_grad_()]
    value = loss(*leaves, unit(PAIRS, 5, dtype), unit(PAIRS * GROUP, 6, dtype))
    value.backward()
    return [value.detach().double(), *(leaf.grad.double() for leaf in leaves)]


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_compiled_tiles_have_the_loss_and_gradients_of_the_whole_matrix_and_of_plain_torch(
    dtype, tolerance, monkeypatch
):
    monkeypatch.setattr(tiled_loss, "_TILE", {"cpu": (16, 50)})  # the last of each direction are smaller
    expected = with_gradients(whole_matrix, torch.float64)
    plain = with_gradients(in_tiles, dtype)
    before = graphs()
    monkeypatch.setattr(fused, "COMPILED_ON", ("cpu",))
    found = with_gradients(in_tiles, dtype)
    assert graphs() - before == 2  # one function there, one back, for all tiles
    assert Fused.compiler_works
    for ours, one, other in zip(found, expected, plain, strict=True):
        torch.testing.assert_close(ours, one, rtol=10 * tolerance, atol=tolerance)
        torch.testing.assert_close(ours, other, rtol=10 * tolerance, atol=tolerance)


@needs_compiler
def test_batches_of_other_sizes_are_not_compiled_for_again_and_threads_share_the_code(compiled):
    def check(rows, columns):
        # Tiles of 30 x 100; every fifth column is no passage, and the last query has no column at all.
        empty = torch.arange(columns) % 5 == 0
        pairs = torch.cartesian_prod(torch.tensor([rows - 1]), torch.arange(columns)).T
        leaves = [unit(rows, 1).requires_grad_(), unit(columns, 2).requires_grad_()]
        result = log_sum_exp_of_scores(*leaves, 0.1, LeftOut(*pairs, empty), (30, 100))
        thread = threading.Thread(target=result[:-1].sum().backward)  # as on a GPU, where autograd has its own
        thread.start()
        thread.join()
        logits = (leaves[0].detach() @ leaves[1].detach().T / 0.1)[:-1]
        logits[:, empty] = -torch.inf
        shares = torch.softmax(logits, dim=1) / 0.1
        assert result[-1] == -torch.inf
        torch.testing.assert_close(result[:-1], torch.logsumexp(logits, dim=1))
        torch.testing.assert_close(leaves[0].grad[:-1], shares @ leaves[1].detach())
        torch.testing.assert_close(leaves[1].grad, shares.T @ leaves[0].detach()[:-1])
        assert (leaves[0].grad[-1] == 0).all()

    before = graphs()
    check(20, 20)  # two sizes that happen to be equal
    assert graphs() - before == 2
    for rows, columns in [(40, 250), (64, 64), (7, 9), (30, 100), (31, 101), (59, 333)]:
        check(rows, columns)
    assert graphs() - before == 2
    assert not torch._dynamo.utils.counters["graph_break"]


def test_what_the_code_is_made_for_does_not_depend_on_the_tile_that_came_first(compiled, monkeypatch):
    seen = []

    def recorded(function, **options):
        def call(*tensors):
            seen.append([None if each is None else (tuple(each.shape), each.dtype) for each in tensors])
            return function(*tensors)

        return call

    monkeypatch.setattr(torch, "compile", recorded)
    for rows, columns in [(5, 5), (7, 2000)]:
        function = Fused(lambda tile, first, second, third: tile + first + third)
        tile, both = torch.zeros(rows, columns), [torch.ones(rows, 1), None, torch.ones(1, columns).bool()]
        assert torch.equal(function(tile, *both), torch.full((rows, columns), 2.0))
        assert torch.equal(function(tile, *both), torch.full((rows, columns), 2.0))
    example = [((1024, 4096), torch.float32), ((1024, 1), torch.float32), None, ((1, 4096), torch.bool)]
    assert [len(seen), seen[0], seen[3]] == [6, example, example]


def test_without_a_compiler_one_warning_says_so_and_plain_torch_computes(compiled, monkeypatch, caplog):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/no/such/compiler",))
    tile = unit(3, 1) @ unit(5, 2).T
    twice, squares = Fused(lambda tile: tile * 2), Fused(lambda tile: tile**2)
    with caplog.at_level(logging.WARNING, logger="trainer.fused"):
        assert torch.equal(twice(tile), tile * 2)
        assert torch.equal(squares(tile), tile**2)
    (record,) = [record for record in caplog.records if record.name == "trainer.fused"]
    assert "torch.compile failed" in record.getMessage()
    assert "C compiler" in record.getMessage()


def test_a_mistake_in_the_function_is_raised_as_plain_torch_raises_it(compiled):
    with pytest.raises(RuntimeError, match="must match"):
        Fused(lambda tile, other: tile + other[:, :2])(torch.zeros(3, 5), torch.zeros(3, 5))


def test_nothing_is_compiled_for_a_cpu():
    before = graphs()
    with_gradients(in_tiles, torch.float32)
    assert graphs() == before
