"""What a run has found: records, figures with their intervals, tables and the report."""
