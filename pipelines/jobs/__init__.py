"""One file a job; see pipelines.job for what a job is."""
