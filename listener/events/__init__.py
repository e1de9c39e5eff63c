"""Event streams: pushes row changes and partial text to browsers. State lives in Postgres and in the client."""
