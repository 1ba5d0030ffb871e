import gzip
import hashlib
import json
import tarfile

import pytest

from tools.cluster import layers


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THEBLOCK_CACHE", str(tmp_path / "cache"))


def tree(folder):
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "run").write_text("#!/bin/sh\n")
    (folder / "bin" / "run").chmod(0o4755)
    (folder / "a.txt").write_text("a")
    (folder / "link").symlink_to("a.txt")
    return folder


def layer_of(folder, key="k"):
    return layers.cached_layer("test", key, lambda archive: layers.add_tree(archive, folder, "opt"))


def test_the_same_tree_gives_the_same_bytes_whenever_it_was_made(tmp_path):
    first = layer_of(tree(tmp_path / "one"), "one")
    second = layer_of(tree(tmp_path / "two"), "two")

    assert first.digest == second.digest
    assert first.path.read_bytes() == second.path.read_bytes()


def test_a_layer_is_described_by_what_is_in_it(tmp_path):
    layer = layer_of(tree(tmp_path / "one"))

    content = layer.path.read_bytes()
    assert layer.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(content)).hexdigest()}"
    assert layer.size == len(content)


def test_entries_are_sorted_owned_by_root_and_lose_special_bits(tmp_path):
    layer = layer_of(tree(tmp_path / "one"))

    with tarfile.open(layer.path) as archive:
        entries = {entry.name: entry for entry in archive.getmembers()}
    assert list(entries) == ["opt/a.txt", "opt/bin", "opt/bin/run", "opt/link"]
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, 0)}
    assert entries["opt/bin/run"].mode == 0o755
    assert entries["opt/link"].linkname == "a.txt"


def test_a_kept_layer_is_not_made_again_and_half_a_layer_is(tmp_path):
    made = []

    def make(archive):
        made.append(1)
        layers.add_file(archive, "x", b"x")
        if len(made) == 1:
            raise OSError("planted")

    with pytest.raises(OSError, match="planted"):
        layers.cached_layer("test", "key", make)
    first = layers.cached_layer("test", "key", make)
    again = layers.cached_layer("test", "key", make)

    assert len(made) == 2
    assert again == first


def test_an_archive_holds_what_its_digests_say(tmp_path):
    layer = layer_of(tree(tmp_path / "one"))

    image = layers.write_image("name:+", [layer], {"User": "10001:10001"}, tmp_path / "name.tar")

    with tarfile.open(image.archive) as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive.getmembers() if entry.isfile()}
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    (described,) = json.loads(files["index.json"])["manifests"]
    assert described["digest"] == image.digest
    assert described["annotations"]["io.containerd.image.name"] == f"docker.io/library/name:{image.tag}"
    manifest = json.loads(files[f"blobs/{image.digest.replace(':', '/')}"])
    config = json.loads(files[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert config["rootfs"]["diff_ids"] == [layer.diff_id]
    assert manifest["layers"][0]["digest"] == layer.digest
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_a_tag_of_content_changes_with_the_content(tmp_path):
    layer = layer_of(tree(tmp_path / "one"))

    one = layers.write_image("name:+", [layer], {"User": "1"}, tmp_path / "one.tar")
    same = layers.write_image("name:+", [layer], {"User": "1"}, tmp_path / "same.tar")
    other = layers.write_image("name:+", [layer], {"User": "2"}, tmp_path / "other.tar")

    assert one.tag == same.tag
    assert one.archive.read_bytes() == same.archive.read_bytes()
    assert one.tag != other.tag


@pytest.mark.parametrize(
    ("reference", "canonical"),
    [
        ("node:1", "docker.io/library/node:1"),
        ("team/node:1", "docker.io/team/node:1"),
        ("example.org/node:1", "example.org/node:1"),
        ("localhost/node:1", "localhost/node:1"),
        ("host:5000/node:1", "host:5000/node:1"),
    ],
)
def test_a_reference_is_spelled_out_as_a_runtime_does(reference, canonical):
    assert layers.canonical(reference) == canonical
