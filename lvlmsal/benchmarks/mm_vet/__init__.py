"""MM-Vet, graded by a judge model."""
