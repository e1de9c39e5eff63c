"""The queue under fault: people who ask, workers, one fault at a time, and what must hold afterwards."""
