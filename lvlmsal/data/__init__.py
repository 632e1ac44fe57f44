"""What users do with the files of benchmarks before a run: check, compare and convert them."""
