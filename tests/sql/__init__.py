"""The database alone: migrations, catalogue, functions and triggers, on the oldest and the newest PostgreSQL
we support."""
