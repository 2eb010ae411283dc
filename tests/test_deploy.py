"""What is in deploy/ is what clusters, containers and timers take: checked offline, strictly, against their own schemas."""

import importlib.util
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from s2sharp.planning.config import RunConfig
from s2sharp.ui.terminal import PARTIAL

from s2sharp_core.errors import Kind

TOP = Path(__file__).parents[1]
DEPLOY = TOP / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
FILES = sorted(
    path.relative_to(KUBERNETES)
    for path in KUBERNETES.rglob("*.yaml")
    if path.name not in ("kustomization.yaml", "images.yaml")
)
GPU_PATCH = Path("overlays/gpu/run.yaml")
DASK = "kubernetes.dask.org/v1"
STOPPED = 128 + signal.SIGINT

Document = dict[str, Any]


def documents(file: Path) -> list[Document]:
    """The manifests in a file; the patch as what it makes of what it patches."""
    found = list(yaml.safe_load_all((KUBERNETES / file).read_text()))
    if file != GPU_PATCH:
        return found
    (base,) = documents(Path("base/run.yaml"))
    (patch,) = found
    assert (patch["kind"], patch["metadata"]["name"]) == (base["kind"], base["metadata"]["name"])
    return [merged(base, patch)]


def merged(base: Any, patch: Any) -> Any:
    """A strategic merge, as far as it is used here: of lists, containers are merged by name."""
    if isinstance(patch, dict):
        return base | {key: merged(base.get(key, {}), value) for key, value in patch.items()}
    if isinstance(patch, list) and all("name" in item for item in patch):
        more = {item["name"]: item for item in patch}
        assert more.keys() <= {item["name"] for item in base}
        return [merged(item, more.get(item["name"], {})) for item in base]
    return patch


def pods(document: Document) -> Iterator[Document]:
    """Every pod's specification in a manifest."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        yield spec["jobTemplate"]["spec"]["template"]["spec"]
    for part in ("scheduler", "worker"):
        if part in spec:
            yield spec[part]["spec"]


def strict(schema: Any) -> Any:
    """The same schema, taking no key that it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    open_ended = {"additionalProperties", "x-kubernetes-preserve-unknown-fields"} & made.keys()
    if isinstance(made.get("properties"), dict) and "type" in made and not open_ended:
        made["additionalProperties"] = False
    return made


def definition(kind: str) -> Document:
    """What the operator's own definition says of a kind."""
    spec = importlib.util.find_spec("dask_kubernetes")
    assert spec
    (folder,) = spec.submodule_search_locations or []
    crds = Path(folder) / "operator/deployment/helm/dask-kubernetes-operator/crds"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd = yaml.load((crds / f"{kind.lower()}.yaml").read_text(), loader)
    (version,) = crd["spec"]["versions"]
    schema = strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    assert schema["additionalProperties"] is False
    return dict(schema)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_manifest_is_what_kubernetes_takes(file: Path) -> None:
    for document in documents(file):
        if document["apiVersion"] == DASK:
            jsonschema.validate(document["spec"], definition(document["kind"]))
            for pod in pods(document):
                whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
                kubernetes_validate.validate(
                    whole, kubernetes_validate.latest_version(), strict=True
                )
        else:
            kubernetes_validate.validate(
                document, kubernetes_validate.latest_version(), strict=True
            )


def test_a_key_that_does_not_exist_would_be_noticed() -> None:
    (cluster,) = documents(Path("base/cluster.yaml"))
    cluster["spec"]["worker"]["replica"] = 4
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.validate(cluster["spec"], definition("DaskCluster"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_no_pod_may_more_than_it_needs(file: Path) -> None:
    for pod in (pod for document in documents(file) for pod in pods(document)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            values = {each["name"]: each.get("value") for each in container["env"]}
            assert values["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"
            assert not any(re.search("SECRET|PASSWORD|TOKEN|AWS_", name) for name in values)


def test_nothing_is_connected_to_in_the_clear() -> None:
    text = "".join((KUBERNETES / file).read_text() for file in FILES)
    assert "tls://s2sharp-scheduler:8786" in text
    assert "tcp://" not in text
    assert "http://" not in text


def test_overlays_are_made_of_what_is_there() -> None:
    listed = set()
    for file in KUBERNETES.rglob("kustomization.yaml"):
        about = yaml.safe_load(file.read_text())
        names = [*about["resources"], *about.get("configurations", [])]
        names += [patch["path"] for patch in about.get("patches", [])]
        names += [name for made in about.get("configMapGenerator", []) for name in made["files"]]
        for name in names:
            assert (file.parent / name).exists(), f"{file}: {name}"
            listed.add((file.parent / name).resolve())
        for image in about.get("images", []):
            assert image["name"] == "s2sharp"
            assert image["newTag"] != "latest"
    assert {(KUBERNETES / file).resolve() for file in FILES} <= listed
    (gpus,) = documents(Path("overlays/gpu/workers.yaml"))
    (cluster,) = documents(Path("base/cluster.yaml"))
    assert gpus["spec"]["cluster"] == cluster["metadata"]["name"]
    (worker,) = gpus["spec"]["worker"]["spec"]["containers"]
    assert worker["args"][-2:] == ["--resources", "GPU=1"]


def test_the_job_is_not_repeated_where_that_would_not_help() -> None:
    (job,) = documents(Path("base/run.yaml"))
    (rule,) = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert set(rule["onExitCodes"]["values"]) == {kind.exit_code for kind in Kind} - {1}
    assert PARTIAL not in rule["onExitCodes"]["values"]


@pytest.mark.parametrize("file", ["run.toml", "kubernetes/base/run.toml"])
def test_configurations_to_begin_with_are_ones(file: str) -> None:
    RunConfig(**tomllib.loads((DEPLOY / file).read_text()))


def docker() -> list[list[str]]:
    """The Dockerfile's instructions, in words."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_pinned_without_root_and_made_of_what_is_there() -> None:
    lines = docker()
    arguments = dict(w.split("=", 1) for word, w, *_ in lines if word == "ARG")
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", arguments["PYTHON"])
    assert {line[1] for line in lines if line[0] == "FROM"} == {"python:${PYTHON}"}
    assert f"torch=={arguments['TORCH']}" in (TOP / "constraints.txt").read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if line[0] == "FROM")
    (user,) = (line[1] for line in lines[last:] if line[0] == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    sent = (TOP / ".dockerignore").read_text().splitlines()
    for line in lines:
        if line[0] == "COPY" and not line[1].startswith("--from"):
            for source in line[1:-1]:
                assert (TOP / source).exists()
                assert f"!{source}" in sent


# Of Debian's base and of what Python's own modules link to: python:*-slim has them.
_SLIM = {"c", "m", "dl", "pthread", "rt", "util", "gcc_s", "stdc++", "z", "ld-linux-x86-64"}


def needed(library: Path) -> set[str]:
    """The libraries that a shared library of 64 bits is linked to."""
    data = library.read_bytes()
    start, size, count = struct.unpack_from("<32xQ14xHH", data)
    segments = [struct.unpack_from("<IIQQQQ", data, start + i * size) for i in range(count)]
    (dynamic,) = (segment for segment in segments if segment[0] == 2)
    entries = list(struct.iter_unpack("<QQ", data[dynamic[2] : dynamic[2] + dynamic[5]]))
    (names,) = (value for tag, value in entries if tag == 5)
    for kind, _, offset, address, _, length in segments:
        if kind == 1 and address <= names < address + length:
            names += offset - address
            break
    begins = [names + value for tag, value in entries if tag == 1]
    return {data[begin : data.index(b"\0", begin)].decode() for begin in begins}


def test_the_image_has_what_wheels_link_to_and_do_not_bring() -> None:
    (line,) = (line for line in docker() if "apt-get" in line)
    installed = set(line[line.index("--no-install-recommends") + 1 :])
    lock = (DEPLOY / "requirements.lock").read_text()
    for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE):
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            assert name != "rasterio"
            continue
        libraries = [Path(str(f.locate())) for f in files if re.search(r"\.so(\.|$)", f.name)]
        brought = {library.name for library in libraries}
        for link in set().union(*map(needed, libraries)) - brought:
            stem, version = re.fullmatch(r"(?:lib)?(.+?)\.so\.?(\S*)", link).groups()  # type: ignore[union-attr]
            assert stem in _SLIM or f"lib{stem}{version}" in installed, f"{name} needs {link}"


def test_a_run_that_is_stopped_can_release_its_lease() -> None:
    assert ["STOPSIGNAL", "SIGINT"] in docker()
    (job,) = documents(Path("base/run.yaml"))
    (pod,) = pods(job)
    assert pod["terminationGracePeriodSeconds"] >= 60


def test_the_lock_has_all_that_the_image_needs_by_hash() -> None:
    entries = re.split(r"\n(?=\S)", (DEPLOY / "requirements.lock").read_text())
    locked = {}
    for entry in (entry for entry in entries if not entry.startswith("#")):
        name, version = re.match(r"([\w.-]+)==(\S+)", entry).groups()  # type: ignore[union-attr]
        assert "--hash=sha256:" in entry, name
        locked[canonicalize_name(name)] = version
    assert "://" not in "".join(entries)
    about = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    extras = about["optional-dependencies"]
    wanted = [*about["dependencies"], *(r for e in _IMAGE for r in extras[e])]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name != "torch":  # has builds for CPUs and for GPUs
            assert requirement.specifier.contains(locked[name]), name
    for pin in (TOP / "constraints.txt").read_text().split():
        name, version = pin.split("==")
        assert locked.get(canonicalize_name(name), version) == version


_IMAGE = ("cluster", "mosaic", "publish", "s3", "slurm")


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if not verify:
        reason = "needs Debian's systemd (apt-get install)"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    command = str(Path(sys.executable).with_name("s2sharp"))
    for file in (DEPLOY / "systemd").iterdir():
        text = file.read_text().replace("/opt/s2sharp/bin/s2sharp", command)
        (tmp_path / file.name.replace("@", "@vienna")).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([verify, "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    service = (DEPLOY / "systemd" / "s2sharp@.service").read_text()
    (codes,) = re.findall(r"^SuccessExitStatus=(.*)$", service, re.MULTILINE)
    assert {int(code) for code in codes.split()} == {
        Kind.NOTHING_FOUND.exit_code,
        Kind.BUSY.exit_code,
        STOPPED,
    }
