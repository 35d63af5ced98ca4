"""What compare_runs.py and report.py consist of."""
