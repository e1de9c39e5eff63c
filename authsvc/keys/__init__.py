"""The keys that sign access tokens: sealed with a master key, rotated, and kept fresh in every process."""
