"""Everything with torch: backbone, encoder, search, negatives, losses, batching, loop, evaluation, export.

Modules here import torch and transformers inside the functions that need them, so that settings can be read, and
folders checked and fingerprinted, in milliseconds.
"""
