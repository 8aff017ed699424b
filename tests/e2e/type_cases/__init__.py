"""Values and statements for test_types.py."""
