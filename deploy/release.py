#!/usr/bin/env python3
"""A release: `python deploy/release.py 0.2.0` writes version and date wherever they stand, the tag's text and the artefacts.

Nothing is committed, tagged or uploaded: the last lines that it prints do that. It needs `build` and `twine`, which
`make setup` installs.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

TOP = Path(__file__).parents[1]
# Files that name the version, and how: what stands before it, and what comes after.
PLACES = {
    "pyproject.toml": (r'^version = "', r'"$'),
    "CITATION.cff": (r"^version: ", r"$"),
    "deploy/conda/recipe.yaml": (r'^  version: "', r'"$'),
    "deploy/README.md": (r"\bs2sharp:", r"-(?:cpu|cuda)\b"),
    "deploy/Dockerfile": (r"\bs2sharp:", r"-(?:cpu|cuda)\b"),
    "deploy/kubernetes/overlays/cpu/kustomization.yaml": (r"\bnewTag: ", r"-cpu$"),
    "deploy/kubernetes/overlays/gpu/kustomization.yaml": (r"\bnewTag: ", r"-cuda$"),
}
_VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"


def renamed(version: str, top: Path) -> None:
    """Write the version into every file that names it."""
    for name, (before, after) in PLACES.items():
        file = top / name
        text, count = re.subn(
            f"({before}){_VERSION}({after})", rf"\g<1>{version}\g<2>", file.read_text(), flags=re.M
        )
        if not count:
            raise SystemExit(f"{name} names no version any more: mend PLACES in {__file__}.")
        file.write_text(text)


def noted(version: str, date: str, top: Path) -> str:
    """Date the unreleased section of the changelog and the citation; return what the section says."""
    file = top / "CHANGELOG.md"
    text = file.read_text()
    found = re.search(
        r"^## (?P<name>\S+) \(unreleased\)\n(?P<what>.*?)(?=^## |\Z)", text, flags=re.M | re.S
    )
    if found is None or not found["what"].strip():
        raise SystemExit(
            "CHANGELOG.md has no section `## VERSION (unreleased)` that says anything: write it first."
        )
    start, end = found.span()
    section = f"## {version} ({date})\n{found['what']}"
    file.write_text(text[:start] + section + text[end:])
    citation = top / "CITATION.cff"
    lines = [x for x in citation.read_text().splitlines() if not x.startswith("date-released:")]
    at = next(i for i, line in enumerate(lines) if line.startswith("version:")) + 1
    citation.write_text("\n".join([*lines[:at], f"date-released: {date}", *lines[at:]]) + "\n")
    return found["what"].strip()


def built(version: str, top: Path) -> list[Path]:
    """Build sdist and wheel into dist/, check both, and write their digests beside them."""
    out = top / "dist"
    for old in out.glob("*"):
        old.unlink()
    _run("build", "--outdir", str(out), str(top))
    files = sorted(file for file in out.iterdir() if version in file.name)
    if [file.suffix for file in files] != [".whl", ".gz"]:
        raise SystemExit(
            f"dist/ holds {[file.name for file in out.iterdir()]}, not a wheel and an sdist of {version}."
        )
    _run("twine", "check", "--strict", *map(str, files))
    digests = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (out / "SHA256SUMS").write_text("".join(digests))
    return files


def _run(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], check=True)  # noqa: S603


def refuse(version: str, top: Path) -> None:
    """Refuse a version that is none or goes back, and a tree with changes that no commit has."""
    if re.fullmatch(_VERSION, version) is None:
        raise SystemExit(f"{version!r} is no version: write it as 0.2.0 or 0.2.0rc1.")
    now = tomllib.loads((top / "pyproject.toml").read_text())["project"]["version"]
    # A first release has the number that stands there already.
    if _order(version) < _order(now):
        raise SystemExit(f"{version} comes before {now}, which pyproject.toml has.")
    git = ["git", "-C", str(top), "status", "--porcelain"]
    changed = subprocess.run(git, capture_output=True, text=True, check=True).stdout  # noqa: S603
    if changed:
        raise SystemExit(f"Commit or stash what has changed first:\n{changed}")


def _order(version: str) -> tuple[tuple[int, ...], str, int]:
    """A release comes after its candidates: "z" after "a", "b" and "rc"."""
    number, kind, count = re.fullmatch(r"([\d.]+?)(?:(a|b|rc)(\d+))?", version).groups()  # type: ignore[union-attr]
    return tuple(map(int, number.split("."))), kind or "z", int(count or 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version")
    version = parser.parse_args().version
    refuse(version, TOP)
    what = noted(version, f"{datetime.now(UTC):%Y-%m-%d}", TOP)
    renamed(version, TOP)
    files = built(version, TOP)
    tag = TOP / "dist" / "TAG.txt"
    # `git tag` takes lines that begin with # for comments.
    tag.write_text(f"s2sharp {version}\n\n{what}\n")
    print(
        f"\n{version} lies in dist/: {', '.join(file.name for file in files)}, SHA256SUMS, TAG.txt. Look at `git diff`, then:\n"
        f"  git commit --all --message 'Release {version}'\n"
        f"  git tag --annotate v{version} --cleanup=verbatim --file dist/TAG.txt\n"
        f"  git push --follow-tags\n"
        f"  {Path(sys.executable).name} -m twine upload {' '.join(f'dist/{file.name}' for file in files)}\n"
        "The next section of CHANGELOG.md begins with `## VERSION (unreleased)`."
    )


if __name__ == "__main__":
    main()
