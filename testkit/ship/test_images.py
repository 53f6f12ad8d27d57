"""The images: what can be said about them without an engine."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import PROGRAMS, PYTHON_TOOLS, ROOT, run

DOCKERFILE = (ROOT / "Dockerfile").read_text()

# What gcr.io/distroless/cc-debian12 is made of, as far as a program can tell.
RUNTIME_PACKAGES = ["libc6", "libgcc-s1", "libgomp1", "libstdc++6", "ca-certificates"]


# Who is not root may not have another root folder, but in a namespace of its own.
ALONE = (
    ["/usr/sbin/chroot", "--userspec=65532:65532"]
    if os.geteuid() == 0
    else ["unshare", "--map-root-user", "/usr/sbin/chroot"]
)


def stages():
    """The lines of each stage by its name."""
    parts = re.split(r"^FROM (?:--platform=\S+ )?\S+ AS (\w+)\n", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_linters_have_nothing_to_say():
    run(PYTHON_TOOLS / "hadolint", "Dockerfile")
    run(PYTHON_TOOLS / "shellcheck", "compose/generate-secrets", "testkit/ship/install")


@pytest.mark.parametrize("name", ["proxy", "control"])
def test_what_ships_has_no_shell_no_root_and_looks_after_itself(name):
    stage = stages()[name]
    assert re.search(rf"^FROM \$\{{RUNTIME\}} AS {name}$", DOCKERFILE, re.MULTILINE)
    assert "RUN" not in stage
    program = f"/usr/local/bin/claude-code-{name}"
    assert f'ENTRYPOINT ["{program}"]' in stage
    assert f'CMD ["{program}", "health"]' in stage
    assert "USER 65532:65532" in stage
    assert "org.opencontainers.image.title" in stage


def test_what_is_built_is_locked_and_every_base_image_has_a_version():
    assert all("--locked" in line for line in re.findall(r"cargo build.*", DOCKERFILE))
    assert "npm ci" in DOCKERFILE and "npm install" not in DOCKERFILE
    images = re.findall(r"^ARG \w+=(\S+/\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(images) == 4, images
    assert not [image for image in images if ":" not in image or image.endswith(":latest")]
    rust = re.search(r'^rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert f"rust:{rust[1]}." in DOCKERFILE


def test_every_file_that_the_images_copy_is_sent_to_the_engine():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert all((ROOT / path).exists() for path in sent), sent
    members = re.search(r"^members = \[(.*)\]$", (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert set(re.findall(r'"(.*?)"', members[1])) <= sent
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for path in " ".join(copied).split():
        assert path == "." or any(path == it or path.startswith(f"{it}/") for it in sent), path


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A root folder with what the image for our programs has, and no more."""
    folder = tmp_path_factory.mktemp("runtime")
    for package in RUNTIME_PACKAGES:
        run("sh", "-c", f"cd {folder} && apt-get download -qq {package} 2>/dev/null")
    for package in folder.glob("*.deb"):
        run("dpkg", "-x", package, folder)
        package.unlink()
    return folder


@pytest.mark.programs
@pytest.mark.parametrize("name", ["claude-code-proxy", "claude-code-control", "simulator"])
def test_the_runtime_image_has_what_our_programs_are_linked_with(runtime, name):
    shutil.copy(PROGRAMS / name, runtime / name)
    command = [*ALONE, runtime, f"/{name}", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, env={})
    assert ended.returncode == 0, ended.stderr
    assert "Usage: " in ended.stdout
