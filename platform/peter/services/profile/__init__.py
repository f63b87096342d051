"""Profiles: the champions' answers for users, computed, materialised, read, queried."""
