"""gRPC servers: the shell that every role runs, and thin servicers that translate."""
