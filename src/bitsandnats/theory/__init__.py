"""Exact results: what the estimators are checked against. No torch."""
