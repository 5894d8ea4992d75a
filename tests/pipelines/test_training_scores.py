import pyarrow as pa
import pytest

from pipelines.jobs.mine import MINED_SCHEMA
from pipelines.training_scores import with_training_scores


def mined(rows):
    names = ("positive_score", "negative_scores", "positive_judge_score", "negative_judge_scores")
    return pa.RecordBatch.from_pylist([dict(zip(names, row, strict=True)) for row in rows], MINED_SCHEMA)


def test_without_a_judge_the_encoders_scores_are_trained_on():
    rows = mined([(0.5, [0.25, 0.125], None, []), (0.5, [], None, [])])
    assert with_training_scores(rows).equals(rows)


def test_a_judges_scores_take_their_place_where_a_row_is_judged_whole():
    found = with_training_scores(
        mined([(0.5, [0.25], 0.875, [0.125]), (0.5, [0.25, 0.25], 0.75, [None, 0.5]), (0.5, [0.25], None, [0.5])])
    )
    assert found["positive_score"].to_pylist() == [0.875, None, None]
    assert found["negative_scores"].to_pylist() == [[0.125], [None, 0.5], [0.5]]


@pytest.mark.parametrize("start", [0, 1])
def test_a_slice_is_understood(start):
    rows = mined([(0.5, [0.25], 1.0, [None]), (0.5, [0.25], 0.875, [0.125]), (0.5, [], 0.5, [])]).slice(start)
    assert with_training_scores(rows)["positive_score"].to_pylist() == [None, 0.875, 0.5][start:]


def test_rows_of_a_judge_that_gave_no_answer_at_all_have_no_score_of_another_scale():
    found = with_training_scores(mined([(0.5, [0.25], None, [None]), (0.5, [], None, [])]))
    assert found["positive_score"].to_pylist() == [None, None]
