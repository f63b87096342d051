"""Versions of tasks: trained, tuned, compared, and registered."""
