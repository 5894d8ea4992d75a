"""Which scores of mined rows go out for distillation: the judge's, where one ran, else the encoder's."""

import pyarrow as pa
import pyarrow.compute as pc


def with_training_scores(mined: pa.RecordBatch) -> pa.RecordBatch:
    """MINED rows whose positive_score and negative_scores are those to train on.

    A judge's scores are of another scale than the encoder's, so that rows of both kinds must not be mixed: where a judge ran,
    a row that it did not judge whole (a negative drawn at random, an answer that was none) has no positive_score.
    """
    judged = mined["positive_judge_score"]
    lists = mined["negative_judge_scores"]
    # A judge that gave no answer leaves nulls in the lists; without a judge they are empty.
    if judged.null_count == mined.num_rows and len(lists.flatten()) == 0:
        return mined
    parents = pc.list_parent_indices(lists)
    incomplete = pc.unique(parents.filter(pc.is_null(lists.flatten())))
    whole = pc.invert(pc.is_in(pa.array(range(mined.num_rows), parents.type), incomplete))
    columns = {
        "positive_score": pc.if_else(whole, judged, pa.scalar(None, judged.type)),
        "negative_scores": lists,
    }
    return pa.RecordBatch.from_arrays(
        [columns.get(name, mined[name]) for name in mined.schema.names], schema=mined.schema
    )
