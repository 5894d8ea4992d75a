"""Texts written or judged by an LLM: the client for OpenAI-compatible servers (`client.py`) and what is built on it."""
