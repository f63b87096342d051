"""Patches: what is asked for, what they may read of others, fitted, stored."""
