"""Event streams: push row changes and partial text to browsers. State is in Postgres and in the client."""
