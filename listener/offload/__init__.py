"""Work over foreign text in child processes: within a budget of processor time and memory, in fair turns, and
ended with whoever waits for it. Knows no request, no model and no database."""
