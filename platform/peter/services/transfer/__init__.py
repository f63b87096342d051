"""Patches that travel: exported to a directory, imported from one."""
