"""M3's scores and losses (equations 2 to 6) in float64 with loops and dictionaries: no tensors, no padding, no tiles.

A text is {"dense": vector, "lexical": [(token id, weight), ...] one a token, "multi_vector": [vector, ...]}.
"""

import math

LOSS_WEIGHTS = {"dense": 1.0, "lexical": 0.1, "multi_vector": 1.0}
SCORE_WEIGHTS = {"dense": 1.0, "lexical": 0.3, "multi_vector": 1.0}


def inner(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def bag(tokens, special=()):
    weights = {}
    for token, weight in tokens:
        if token not in special and weight > 0:
            weights[token] = max(weight, weights.get(token, 0.0))
    return weights


def score(output, query, passage, special=(), zero_vectors=False):
    if output == "dense":
        return inner(query["dense"], passage["dense"])
    if output == "lexical":
        ours, theirs = bag(query["lexical"], special), bag(passage["lexical"], special)
        return math.fsum(weight * theirs[token] for token, weight in ours.items() if token in theirs)
    if not query["multi_vector"]:
        return 0.0
    best = [
        max([inner(a, b) for b in passage["multi_vector"]] + [0.0] * zero_vectors, default=0.0)
        for a in query["multi_vector"]
    ]
    return math.fsum(best) / len(best)


def log_sum_exp(values):
    highest = max(values)
    return highest + math.log(math.fsum(math.exp(value - highest) for value in values))


def losses(logits, own, counts, distilled, ensemble=True):
    """Of one row: the loss and its parts, from {output: logits of all columns} and what counts (own always does)."""
    columns = [column for column in range(len(counts)) if counts[column] or column == own]

    def plain(values):
        return log_sum_exp([values[column] for column in columns]) - values[own]

    parts = {f"loss_{output}": plain(values) for output, values in logits.items()}
    if len(logits) == 1:
        return {"loss": next(iter(parts.values())), **parts}
    total = math.fsum(LOSS_WEIGHTS[output] * parts[f"loss_{output}"] for output in logits)
    if not ensemble:
        return {"loss": total / len(logits), **parts}
    summed = [
        math.fsum(SCORE_WEIGHTS[output] * values[column] for output, values in logits.items())
        for column in range(len(counts))
    ]
    parts["loss_ensemble"] = plain(summed)
    total = (total + parts["loss_ensemble"]) / (len(logits) + 1)
    if distilled:
        shares = {column: math.exp(summed[column] - log_sum_exp([summed[c] for c in columns])) for column in columns}
        taught = {
            output: math.fsum(
                shares[column] * (log_sum_exp([values[c] for c in columns]) - values[column]) for column in columns
            )
            for output, values in logits.items()
        }
        parts["loss_distillation"] = math.fsum(LOSS_WEIGHTS[o] * value for o, value in taught.items()) / len(taught)
        total = (total + parts["loss_distillation"]) / 2
    return {"loss": total, **parts}
