"""What any process here needs to start, speak and stop. Knows no word of the domain."""
