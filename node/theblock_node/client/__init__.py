"""Typed clients of the gRPC services: deadlines on every call, failover over endpoints, refusals by name."""
