"""Accounts and sessions, and the only signer of access tokens. Knows nothing of requests, jobs or models."""
