"""A simulated machine with GPUs, for demonstrations, tests and benchmarks."""
