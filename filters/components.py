"""Connected components: from pairs of alike texts to groups.

In one process by union-find. Where the pairs lie in many places by rounds (Kiveris, Lattanzi, Mirrokni, Rastogi,
Vassilvitskii 2014, "Connected components in MapReduce and beyond"): a large star, then a small star of every vertex, until
no edge changes; then each vertex has one edge, to the smallest of its component.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def representatives(left: Any, right: Any, position: Any) -> Numbers:
    """Of each text, the text of its component with the smallest position: int64 [texts].

    left and right are integers [pairs], indices of texts; position orders the texts and is different for each: integers
    [texts]. Neither the order nor the direction of the pairs makes a difference. A text in no pair represents itself.
    Raises ValueError where a pair names a text that is not there.
    """
    position = np.asarray(position)
    order = np.argsort(position, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    left, right = _checked(left, len(order)), _checked(right, len(order))
    representative: Numbers = order[smallest_of_components(rank[left], rank[right], len(order))[rank]]
    return representative


def smallest_of_components(left: Any, right: Any, vertices: int) -> Numbers:
    """Of each vertex, the smallest vertex of its component: int64 [vertices]; left and right are as for representatives."""
    from filters import near_duplicate_loops

    parents = np.arange(vertices)
    near_duplicate_loops.join_all(parents, _checked(left, vertices), _checked(right, vertices))
    near_duplicate_loops.find_roots(parents)
    return parents


def large_star(centre: Any, neighbour: Any) -> tuple[Numbers, Numbers]:
    """Joins the larger neighbours of each centre to the smallest of its neighbours and itself: edges (larger, smaller).

    centre and neighbour are integers [edges], each edge of the graph given from both its ends, and all edges of a centre
    here. The result holds each edge once, int64 [edges out] twice; its components are those of the graph.
    """
    centre, neighbour = np.asarray(centre, np.int64), np.asarray(neighbour, np.int64)
    centre, neighbour, least = _with_least(centre, neighbour)
    larger = neighbour > centre
    return _edges(neighbour[larger], least[larger])


def small_star(larger: Any, smaller: Any) -> tuple[Numbers, Numbers]:
    """Joins each vertex and its smaller neighbours to the smallest of them: edges (larger, smaller).

    larger and smaller are integers [edges], each edge given once and all of a larger end here. The result is as that of
    large_star.
    """
    larger, smaller = np.asarray(larger, np.int64), np.asarray(smaller, np.int64)
    larger, smaller, least = _with_least(larger, smaller)
    return _edges(np.concatenate([smaller, larger]), np.concatenate([least, least]))


def _checked(ends: Any, vertices: int) -> Numbers:
    numbers: Numbers = np.asarray(ends, np.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < vertices:
        raise ValueError(f"A pair names a text that is not among the {vertices} texts.")
    return numbers


def _with_least(centre: Numbers, neighbour: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The edges sorted by centre, and of each the smallest among its centre and the centre's neighbours."""
    order = np.lexsort((neighbour, centre))
    centre, neighbour = centre[order], neighbour[order]
    starts = np.flatnonzero(np.r_[True, centre[1:] != centre[:-1]][: len(centre)])
    counts = np.diff(np.r_[starts, len(centre)])
    least = np.minimum(neighbour[starts], centre[starts])
    return centre, neighbour, np.repeat(least, counts)


def _edges(larger: Numbers, smaller: Numbers) -> tuple[Numbers, Numbers]:
    """Each edge once, in order, without those from a vertex to itself."""
    order = np.lexsort((smaller, larger))
    larger, smaller = larger[order], smaller[order]
    kept = np.r_[True, (larger[1:] != larger[:-1]) | (smaller[1:] != smaller[:-1])][: len(larger)] & (larger != smaller)
    return larger[kept], smaller[kept]
