"""Members as Kubernetes objects: small builders, dict in, dict out."""

from __future__ import annotations
