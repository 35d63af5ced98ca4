"""A folder of a trained model, of whatever layout, becomes a separator."""
