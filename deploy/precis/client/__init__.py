"""The service as its users see it from a terminal: one text in, one result out."""
