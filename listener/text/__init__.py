"""Pure functions on text: normalise, cut, count, rank, shorten, check. Knows no database, no HTTP and no
model."""
