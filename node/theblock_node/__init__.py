"""theblock's node: the protocol, the services that keep it running, and the roles that pods run."""

VERSION = "0.1.0"
