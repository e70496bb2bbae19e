"""What runs: one module an experiment."""
