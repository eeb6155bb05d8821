"""What runs came to: rows, statistics, verdicts, figures and pages."""
