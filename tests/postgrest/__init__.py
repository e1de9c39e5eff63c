"""The HTTP API as PostgREST serves it, without any other service of ours: whatever a client sends, and what
it may see."""
