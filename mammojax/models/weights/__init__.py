"""Readers of published weight files. None of them runs code from a file."""
