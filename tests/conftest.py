"""A complete miniature production, made once and looked at by many tests."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parent.parent

# Two pytest workers share two cores; small tensors on more threads than cores are slower by an order of magnitude.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Production:
    """A folder in which the workflow has run."""

    folder: Path
    configuration: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def snakemake(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in this folder with its configuration; standard error is merged into standard output."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--configfile", str(self.configuration), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout
        )
        if check:
            assert done.returncode == 0, done.stdout[-6000:]
        return done

    def copy(self, to: Path) -> "Production":
        """The same production in another folder, with the times of files, so that nothing is out of date."""
        shutil.copytree(self.folder, to, symlinks=True, copy_function=shutil.copy2)
        return Production(to, to / self.configuration.name)


def new_production(folder: Path) -> Production:
    """A folder with the miniature configuration, in which nothing has run yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return Production(folder, Path(shutil.copy2(ROOT / "tests" / "miniature.yaml", folder)))


@pytest.fixture(scope="session")
def production(tmp_path_factory, worker_id) -> Production:
    """The miniature production, finished. Tests must not change it; they may change a copy.

    pytest's workers share it: the first one that wants it makes it, the others wait.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    with FileLock(shared / "production.lock"):
        made = new_production(shared / "production")
        if not (shared / "production.done").exists():
            made.snakemake("--cores", "2")
            (shared / "production.done").touch()
    return made


@pytest.fixture
def panels(monkeypatch) -> list:
    """Panels of the last figure that was drawn, as Matplotlib has them."""
    from fourdcrystal import plots

    found = []
    real = plots.plt.close

    def close(figure):
        found[:] = figure.axes
        real(figure)

    monkeypatch.setattr(plots.plt, "close", close)
    return found


def pytest_terminal_summary(terminalreporter) -> None:
    """Say how long things took whose tests record it."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    took = [text for report in reports for name, text in report.user_properties if name == "took"]
    if took:
        terminalreporter.section("how long it took")
        for text in took:
            terminalreporter.write_line(text)


@pytest.fixture
def bucket(monkeypatch):
    """A local S3 server with an empty bucket."""
    pytest.importorskip("obstore", reason="obstore is not installed (pip install obstore)")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed (pip install 'moto[server]')")
    import boto3

    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_REGION": "us-east-1"}
    for name, value in (keys | {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true"}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # servers share their contents
    client.create_bucket(Bucket="data")
    yield client
    server.stop()


@pytest.fixture
def small_disk_for_caches(monkeypatch):
    """A block in which caches of downloads are opened on a disk of so many pages of the database."""
    from fourdcrystal.downloads import Downloads

    @contextmanager
    def block(pages: int) -> Iterator[None]:
        opened = Downloads.__init__

        def on_a_small_disk(self, *arguments) -> None:
            opened(self, *arguments)
            self._connection.execute(f"PRAGMA max_page_count = {pages}")

        with monkeypatch.context() as patch:
            patch.setattr(Downloads, "__init__", on_a_small_disk)
            yield

    return block
