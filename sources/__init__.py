"""Corpus adapters: files on disk or in a bucket in, Arrow batches of pairs and documents out.

Everything else in pairmill depends on `sources.schema` and `sources.languages`; `sources` depends on nothing of ours.
"""
