"""The running stack: real processes, each killed in each state."""
