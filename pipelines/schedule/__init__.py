"""`pairmill schedule`: refreshes at the times of a cron expression, each in a process of its own."""
