"""Sets of several files: judgements, queries, a corpus."""
