"""`python -m tools.charts`: lint, render, check against schemas and our own rules. Exit code 1 with what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from theblock_operator import schema

from tools import dashboards
from tools.charts import policy, queries, rendering, schemas
from tools.charts.binaries import MissingProgram, find_helm, find_kubeconform
from tools.charts.rendering import CASES, CHARTS, ROOT, Case, HelmError, Object

STARTER = ROOT / "examples" / "starter" / "starter.yaml"
KUBECONFORM_S = 120


def main() -> int:
    problems = list(find_all())
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def find_all(charts: Path = CHARTS) -> Iterator[str]:
    """Everything that is wrong with the charts in a folder."""
    yield from stale_copies(charts)
    helm = find_helm()
    rendered: list[Object] = []
    for case in CASES:
        try:
            rendering.lint(helm, case, charts)
            objects = rendering.render(helm, case, charts)
        except HelmError as refused:
            yield f"{case.title}: {refused}"
            continue
        rendered += objects
        yield from check(case, objects)
    yield from second_opinion(rendered)
    for where, problem in queries.find_problems(charts / "theblock-monitoring"):
        yield f"{where}: {problem}"


def check(case: Case, objects: Sequence[Object]) -> Iterator[str]:
    """One chart, rendered."""
    for object_ in objects:
        if not schemas.is_foreign(object_):
            for problem in schemas.find_problems(object_):
                yield f"{case.title}, {policy.name_of(object_)}: {problem}"
    for name, problem in policy.find_problems(objects):
        yield f"{case.title}, {name}: {problem}"
    if (case.chart, case.name) == ("theblock-network", "defaults"):
        yield from differences(objects, list(yaml.safe_load_all(STARTER.read_text())))


def differences(objects: Sequence[Object], wanted: Sequence[Object]) -> Iterator[str]:
    """The network chart as it is makes the resources of `examples/starter`, no more and no fewer."""
    made = {policy.name_of(object_): object_ for object_ in objects if _is_ours(object_)}
    for object_ in wanted:
        name = policy.name_of(object_)
        found = made.pop(name, None)
        if found is None:
            yield f"the network chart does not make {name} of {STARTER.name}"
        elif (found["spec"], found["metadata"]["namespace"]) != (object_["spec"], object_["metadata"]["namespace"]):
            yield f"{name} of the network chart differs from {STARTER.name}"
    for name in made:
        yield f"the network chart makes {name}, which is not in {STARTER.name}"


def stale_copies(charts: Path) -> Iterator[str]:
    """What is generated is what its sources say, and both copies of each CRD are equal."""
    for path, text in (*schema.render_files(), *dashboards.render_files()):
        if path.is_relative_to(CHARTS):
            path = charts / path.relative_to(CHARTS)
        if not path.exists() or path.read_text() != text:
            yield f"{path.name} is not what its source says: run make generate"


def second_opinion(objects: Sequence[Object]) -> Iterator[str]:
    """kubeconform over everything, with the same schemas; a machine without Go goes without, CI does not."""
    try:
        program = find_kubeconform()
    except MissingProgram as missing:
        if os.environ.get("CI"):
            yield str(missing)
        else:
            print(f"left out: {missing}")
        return
    known = [object_ for object_ in objects if not schemas.is_foreign(object_)]
    with tempfile.TemporaryDirectory() as folder:
        location = schemas.write(known, Path(folder))
        done = subprocess.run(
            [str(program), "-strict", "-output", "json", "-schema-location", location, "-"],
            input="\n---\n".join(json.dumps(object_) for object_ in known),
            capture_output=True,
            text=True,
            timeout=KUBECONFORM_S,
            check=False,
        )
    found = json.loads(done.stdout).get("resources", []) if done.stdout.strip() else []
    for row in found:
        yield f"kubeconform: {row['kind']} {row['name']}: {row['msg']}"
    if done.returncode and not found:
        yield f"kubeconform ended with {done.returncode}: {done.stderr.strip()[:500]}"


def _is_ours(object_: Object) -> bool:
    return str(object_["apiVersion"]).startswith("theblock.dev/")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingProgram as missing:
        print(missing)
        sys.exit(1)
