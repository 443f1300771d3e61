"""The files in late_rerank/serve/deploy, put together as kustomize does it, for what these files use of it."""

from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install pyyaml")

DEPLOY = Path(__file__).parents[1] / "late_rerank" / "serve" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
_KNOWN = {"apiVersion", "kind", "labels", "resources", "components", "configMapGenerator", "patches"}


def loaded(path):
    """The documents of a YAML file."""
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each is not None]


def one(found):
    """The only one of them."""
    (only,) = found
    return only


def all_pods(manifests):
    """The labels of each Deployment's pods."""
    return [each["spec"]["template"]["metadata"]["labels"] for each in manifests if each["kind"] == "Deployment"]


def built(folder, *, components=None, without=(), used=None, docs=()):
    """What `kubectl kustomize FOLDER` gives, without the digests in names.

    Args:
        folder: Has a kustomization.yaml.
        components: In the place of those that it names; None for those.
        without: Names of its resources that are left out.
        used: Gets each file that was read.
        docs: What a component changes.
    """
    folder = folder.resolve()
    told = one(loaded(folder / "kustomization.yaml"))
    assert set(told) <= _KNOWN, f"kustomize does more than this: {set(told) - _KNOWN}"
    used = set() if used is None else used
    docs = list(docs)
    assert set(without) <= set(told.get("resources", []))
    for name in [each for each in told.get("resources", []) if each not in without]:
        path = (folder / name).resolve()
        if path.is_dir():
            docs += built(path, used=used)
        else:
            used.add(path)
            docs += loaded(path)
    for component in [folder / name for name in told.get("components", [])] if components is None else components:
        docs = built(component, used=used, docs=docs)
    for generator in told.get("configMapGenerator", []):
        _generate(generator, folder, docs, used)
    for patch in told.get("patches", []):
        _apply(patch, docs)
    names = [(each["kind"], each["metadata"]["name"]) for each in docs]
    assert len(names) == len(set(names)), "two of one name"
    return docs


def _generate(generator, folder, docs, used):
    given = dict(literal.split("=", 1) for literal in generator.get("literals", []))
    for name in generator.get("files", []):
        # kustomize takes no file from outside its folder.
        assert (folder / name).resolve().is_relative_to(folder)
        used.add((folder / name).resolve())
        given[name] = (folder / name).read_text(encoding="utf-8")
    there = [each for each in docs if each["kind"] == "ConfigMap" and each["metadata"]["name"] == generator["name"]]
    if generator.get("behavior") == "merge":
        one(there)["data"].update(given)
        return
    assert there == [], "made twice"
    docs.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": given})


def _apply(patch, docs):
    """Apply a JSON patch (RFC 6902): add, replace, remove."""
    target = one([each for each in docs if (each["kind"], each["metadata"]["name"]) == tuple(patch["target"].values())])
    for step in yaml.safe_load(patch["patch"]):
        *way, last = step["path"].strip("/").split("/")
        at = target
        for name in way:
            at = at[int(name)] if isinstance(at, list) else at[name]
        if isinstance(at, list) and last == "-":
            at.append(step["value"])
        elif step["op"] == "remove":
            del at[last]
        else:
            assert step["op"] == "add" or last in at, f"nothing to replace at {step['path']}"
            at[last] = step["value"]
