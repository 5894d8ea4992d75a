"""Beam jobs, the recipe, the run folder, the runners, the command line and the report."""

__version__ = "0.1.0"
