"""Stage 3, where it is asked for: clusters of near-duplicates among the passages.

    sketches-NNNN.arrow                 sketches of a block of passages (filters.minhash)
    link_clusters.*, link_of_cluster.*  Multimaps passage -> cluster and back, of clusters of at least two

What makes a near-duplicate is as in dedup (filters.near_duplicates). In memory: about 300 bytes a passage while clusters
are made.
"""

import numpy as np
import pyarrow as pa
from pydantic import Field

from filters.components import smallest_of_components
from filters.minhash import SketchSettings, sketch_schema, sketch_texts
from filters.near_duplicates import NearDuplicateSettings, similar_pairs
from pipelines.mining.multimap import Multimap
from pipelines.mining.progress import Progress
from pipelines.mining.texts import Texts
from pipelines.mining.work import Stage, read_array, read_arrow, write_array, write_arrow

BLOCK = 65_536  # passages of a file of sketches


class NearSettings(NearDuplicateSettings):
    """Near-duplicates of a positive, which are never its query's negatives."""

    sketch: SketchSettings = Field(SketchSettings(), description="what texts are compared by")


def write_clusters(stage: Stage, texts: Texts, settings: NearSettings, progress: Progress) -> int:
    """Write the files of the stage: how many passages are in a cluster with others."""
    starts = range(0, len(texts), BLOCK)
    paths = [stage.file(f"sketches-{number:04d}.arrow") for number in range(len(starts))]
    for start, path in zip(starts, paths, strict=True):
        rows = np.arange(start, min(start + BLOCK, len(texts)))
        if not path.exists():
            sketches = sketch_texts(texts.take(rows), settings.sketch, first_text=start)
            write_arrow(path, sketch_schema(settings.sketch.permutations), [sketches])
        progress.advance(len(rows))
    sketches = pa.concat_tables([read_arrow(path) for path in paths])
    written = texts.take(np.arange(len(texts))) if settings.exact else None
    pairs = similar_pairs(sketches, settings, texts=written, shingles=settings.sketch)
    roots = smallest_of_components(pairs["left"].to_numpy(), pairs["right"].to_numpy(), len(texts))
    shared = np.flatnonzero(np.bincount(roots, minlength=len(texts))[roots] > 1)
    for name, link in (
        ("clusters", Multimap.of(shared, roots[shared])),
        ("of_cluster", Multimap.of(roots[shared], shared)),
    ):
        write_array(stage.file(f"link_{name}.keys.npy"), link.keys)
        write_array(stage.file(f"link_{name}.rows.npy"), link.rows)
    return len(shared)


def load_clusters(stage: Stage) -> tuple[Multimap, Multimap]:
    """passage -> cluster, and cluster -> passages."""
    clusters, members = (
        Multimap(read_array(stage.file(f"link_{name}.keys.npy")), read_array(stage.file(f"link_{name}.rows.npy")))
        for name in ("clusters", "of_cluster")
    )
    return clusters, members
