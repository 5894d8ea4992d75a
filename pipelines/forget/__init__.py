"""Take-down of documents: tombstones, what is removed where, the check that nothing is left, and lineage."""
