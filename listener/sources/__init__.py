"""Where a text comes from: a reader for each kind of source."""
