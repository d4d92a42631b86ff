"""What was measured on this machine: ``python -m benchmarks`` prints it."""
