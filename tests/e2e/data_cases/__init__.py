"""Shapes for test_data.py."""
