"""What `separate.py` does: recordings of any length, read and separated."""
