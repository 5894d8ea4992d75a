"""The run's page: what came in, what was dropped and why, samples to read, the curves, the scores. See page.render."""
