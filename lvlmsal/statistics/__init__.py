"""Uncertainty of metric values: intervals, paired comparisons of two methods, and AUROC."""
