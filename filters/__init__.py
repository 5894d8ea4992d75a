"""Decisions over Arrow batches of pairs: language, quality, duplicates.

A filter *measures* (a pure function of the texts, giving columns), then *decides* (columns and thresholds to a reason
for each row, null = keep). Changing a threshold decides again without measuring again.
"""
