"""Backbones: pre-trained, frozen, read from the store with the items that they know."""
