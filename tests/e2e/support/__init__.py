"""What tests, demo and benchmarks share: servers, a proxy, a comparator, load, the service.

Nothing here uses Towline's own code: it is the judge.
"""
