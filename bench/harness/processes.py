"""Starts pinned processes, reads what they use from /proc, and ends every one of them."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PR_SET_PDEATHSIG = 1

_running = []


class Failed(Exception):
    """A run cannot go on, with the reason for a person."""


class Process:
    """A child with a process group of its own, pinned to one core."""

    def __init__(self, command, core, log, cwd=None, env=None, **streams):
        self.log = Path(log)
        self.name = Path(command[0]).name
        streams.setdefault("stdin", subprocess.DEVNULL)
        with open(self.log, "ab") as errors:
            self.child = subprocess.Popen(
                pinned(command, core),
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdout=streams.pop("stdout", errors),
                stderr=errors,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **streams,
            )
        _running.append(self)

    @property
    def pid(self):
        return self.child.pid

    def wait_for_port(self, port, seconds=20):
        """Returns when the process listens; fails when it ends first or takes longer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Failed(f"{self.name} ended with status {self.child.returncode}:\n{self.last_words()}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise Failed(f"{self.name} does not listen on port {port} after {seconds} s:\n{self.last_words()}")

    def last_words(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def cpu_seconds(self):
        """User and system time of the process and all that descend from it."""
        return sum(_cpu_seconds(pid) for pid in descendants(self.pid))

    def rss_mb(self):
        """Resident memory of the process and all that descend from it, in MB (10^6 bytes)."""
        return sum(_rss_bytes(pid) for pid in descendants(self.pid)) / 1e6

    def stop(self, seconds=5):
        if self in _running:
            _running.remove(self)
        _signal_group(self.pid, signal.SIGTERM)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        # Whatever is left of the group, such as a worker that waits for a last connection.
        _signal_group(self.pid, signal.SIGKILL)
        self.child.wait()


def stop_all():
    while _running:
        _running[-1].stop(seconds=2)


def pinned(command, core):
    return ["taskset", "-c", str(core), *map(str, command)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_file_limit(wanted=20_000):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, PermissionError):
            raise Failed(f"the hard limit of open files is {hard}, and {wanted} are needed (ulimit -Hn)") from None
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


class CoreClock:
    """Share of a core's time that was used, and that the hypervisor took, since it was made."""

    def __init__(self, core):
        self.core = core
        self.before = self._read()

    def busy_and_stolen(self):
        passed = [after - before for before, after in zip(self.before, self._read())]
        total = sum(passed) or 1
        idle, steal = passed[3] + passed[4], passed[7]
        return 1 - idle / total, steal / total

    def _read(self):
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith(f"cpu{self.core} "):
                return [int(field) for field in line.split()[1:9]]
        raise Failed(f"there is no core {self.core} on this machine")


def descendants(pid):
    """The process itself and all below it."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(entry.name)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


def _stat(pid):
    """The fields of /proc/PID/stat from the state on, or None for a process that is gone."""
    try:
        # The command's name is in brackets and may itself hold blanks and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _cpu_seconds(pid):
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * TICK if fields else 0.0


def _rss_bytes(pid):
    fields = _stat(pid)
    return int(fields[21]) * PAGE if fields else 0


def _signal_group(pid, number):
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def _die_with_parent():
    # Asked to end rather than killed, so that nginx takes its workers along.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
