"""A real SLURM on one machine: controller, three nodes on loopback, two of them with made-up GPUs.

Needs root and the packages slurmctld, slurmd, slurm-client and munge; systemd is not involved. All files lie in one
folder, but for a link in /etc/slurm, since SLURM's step launcher doesn't pass SLURM_CONF on.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
PORT = 17400  # of the controller; nodes have the ones after it
CONFIGURED = ("slurm.conf", "gres.conf", "cgroup.conf")
MEMORY_MB, CPUS, GPUS = 6000, 4, 2

CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=5,bf_interval=5
GresTypes=gpu
ReturnToService=2
KillWait=3
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=20
AccountingStorageType=accounting_storage/none
"""


def missing() -> str | None:
    """Why no cluster can be started here; None if one can."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (Debian: apt-get install slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0:
        return "a SLURM cluster of its own needs root"
    clear_left_behind()
    if os.path.lexists("/etc/slurm/slurm.conf"):
        return "/etc/slurm/slurm.conf exists: this machine has a SLURM of its own"
    return None


def clear_left_behind() -> None:
    """Unlink the configuration of a cluster of ours whose test run was killed: its controller has ended."""
    links = [Path("/etc/slurm") / name for name in CONFIGURED]
    configuration = links[0]
    if not configuration.is_symlink() or not (folder := configuration.readlink().parent).name.startswith("slurm"):
        return
    if configuration.exists() and f"{folder}/state" not in configuration.read_text():
        return
    try:
        controller = int((folder / "slurmctld.pid").read_text())
        alive = Path(f"/proc/{controller}/comm").read_text().startswith("slurmctld")
    except FileNotFoundError:
        alive = False
    if not alive:
        for link in links:
            link.unlink(missing_ok=True)


class Cluster:
    """Starts on entry, is gone on exit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes = ("n1", "n2", "n3")  # n1 has no GPU

    def __enter__(self) -> "Cluster":
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        place = {"key-file": key, "socket": "munge.sock", "pid-file": "munged.pid", "log-file": "munged.log"}
        place["seed-file"] = "munged.seed"
        options = [f"--{option}={self.folder / path}" for option, path in place.items()]
        subprocess.run(["munged", "--force", *options], check=True, stderr=subprocess.DEVNULL)
        self.start_controller()
        for node in self.nodes:
            (self.folder / "spool" / node).mkdir()
            subprocess.run(["slurmd", "-N", node, "-f", self.configuration], check=True)
        self.wait(lambda: self.run("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * 5, "nodes to be idle")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["scancel", "--user=root"], env=self.environment, timeout=10, capture_output=True)
        for path in [
            *self.folder.glob("slurmd-*.pid"),
            *self.folder.glob("slurmctld.pid"),
            *self.folder.glob("munged.pid"),
        ]:
            kill(int(path.read_text()), signal.SIGTERM)
        for name in CONFIGURED:
            (Path("/etc/slurm") / name).unlink(missing_ok=True)

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SLURM_CONF": str(self.configuration)}

    def run(self, *command: str) -> str:
        """Output of a SLURM command."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30).stdout

    def jobs(self) -> list[dict[str, str]]:
        """Every job that the controller still remembers, as `scontrol show job` tells it."""
        lines = self.run("scontrol", "--oneliner", "show", "job").splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]

    def start_controller(self) -> None:
        subprocess.run(["slurmctld", "-f", self.configuration], check=True)
        self.wait(lambda: "UP" in self.run("scontrol", "ping"), "the controller")

    def stop_controller(self) -> None:
        kill(int((self.folder / "slurmctld.pid").read_text()), signal.SIGTERM)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
            time.sleep(0.2)

    def _configure(self) -> None:
        lines = [CONFIGURATION.format(folder=self.folder, port=PORT)]
        gres = ["AutoDetect=off"]
        for number, node in enumerate(self.nodes, start=1):
            has = f"Gres=gpu:{GPUS}" if number > 1 else ""
            lines.append(
                f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={PORT + number} CPUs={CPUS} "
                f"RealMemory={MEMORY_MB} {has}\n"
            )
            if has:
                gres.append(f"NodeName={node} Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]")
        lines.append("PartitionName=cpu Nodes=n[1-3] Default=YES MaxTime=INFINITE DefMemPerCPU=200 State=UP\n")
        lines.append("PartitionName=gpu Nodes=n[2-3] MaxTime=INFINITE DefMemPerCPU=200 State=UP\n")
        for number in range(GPUS):  # slurmd wants a device file; this one is another /dev/null
            os.mknod(self.folder / f"gpu{number}", 0o20666, os.makedev(1, 3))
        self.configuration.write_text("".join(lines))
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        Path("/etc/slurm").mkdir(exist_ok=True)
        for name in CONFIGURED:
            (Path("/etc/slurm") / name).symlink_to(self.folder / name)


def kill(pid: int, how: signal.Signals, seconds: float = 10) -> None:
    """Send a signal and wait until the process is gone."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.kill(pid, how if time.monotonic() < deadline else signal.SIGKILL)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/status").exists() and "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.1)
