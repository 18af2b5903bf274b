"""How good the names are: suites, ground truth, conditions, statistics, reports."""
