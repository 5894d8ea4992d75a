"""Questions for long documents, written by an LLM. Empty until that job is built (see docs/design.md, open ends)."""
