"""Refreshes: the chain at the cost of what is new, a gate for the new model, versions, history and alerts."""
