"""Thresholds, schedules, scopes, and budgets of layers."""
