"""The images built by a container engine from the Containerfiles: what kind uses, on whatever system it runs."""

from __future__ import annotations

from tools.cluster.console import run, step
from tools.cluster.layers import Image
from tools.cluster.layout import REPOSITORY

CONTAINERFILES = {
    "theblock-node": "node/Containerfile",
    "theblock-operator": "operator/Containerfile",
    "theblock-gpu": "gpu/Containerfile",
}
BUILD_SECONDS = 1200


def ensure_all(engine: str) -> dict[str, Image]:
    """Build what changed, by the engine's own cache; an image is tagged after what is in it."""
    made = {}
    for name, containerfile in CONTAINERFILES.items():
        with step(f"image {name}"):
            words = ["build", "--quiet", "--file", str(REPOSITORY / containerfile), "--tag", name, str(REPOSITORY)]
            run(engine, *words, timeout_seconds=BUILD_SECONDS)
            digest = run(engine, "image", "inspect", "--format", "{{.Id}}", name).strip()
            reference = f"{name}:dev-{digest.removeprefix('sha256:')[:12]}"
            run(engine, "tag", name, reference)
            archive = REPOSITORY / "build" / "images" / f"{name}.tar"
            archive.parent.mkdir(parents=True, exist_ok=True)
            run(engine, "save", "--output", archive, reference, timeout_seconds=300)
        made[name] = Image(reference, digest, archive)
    return made
