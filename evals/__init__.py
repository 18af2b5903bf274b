"""How good names are: suites of features with known truth, conditions that name them, figures, reports."""
