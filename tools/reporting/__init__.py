"""What the report consists of."""
