"""Estimators: plain functions of stored draws. No torch."""
