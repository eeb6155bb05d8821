"""Reports on finished runs: tables, statistics, verdicts, figures, pages."""
