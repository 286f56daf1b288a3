"""How many weights go, and when: thresholds, schedules, budgets of layers, scopes."""
