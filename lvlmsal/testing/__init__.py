"""What authors of plugins test theirs with: conformance checks and tiny random models."""
