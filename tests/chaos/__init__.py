"""The chaos suite: a running task under random faults, see chaos.py."""
