"""Sends requests: as fast as answers come, at a steady rate, or once on each of many connections that then idle."""

import json
import re
import subprocess
import sys
from pathlib import Path

from .processes import Failed, Process

HERE = Path(__file__).parent


class Generator:
    """Sends the requests of one workload to one port, from one core."""

    def __init__(self, workload, port, tokens, core, folder):
        self.workload = workload
        self.port = port
        self.tokens = tokens
        self.core = core
        self.folder = Path(folder)
        self.url = f"{'https' if workload.tls else 'http'}://127.0.0.1:{port}{workload.path}"

    def flat_out(self, seconds):
        """Each connection sends its next request when it has its answer."""
        return self._h2load(seconds) if self.workload.tls else self._wrk(seconds)

    def paced(self, seconds, rate):
        """About `rate` requests per second in all."""
        return self._h2load(seconds, rate) if self.workload.tls else self._wrk(seconds, rate)

    def hold(self, count):
        """Opens `count` connections that idle after one answer each."""
        return Holder(self, count)

    def headers(self):
        return {"Content-Type": "application/json"} if self.workload.body else {}

    def _wrk(self, seconds, rate=None):
        connections = self.workload.connections
        plan = self.folder / "plan.lua"
        plan.write_text(self._plan(connections * 1000 / rate if rate else 0))
        script = HERE / "load.lua"
        options = f"-t1 -c{connections} -d{seconds}s --timeout 10s -s {script}".split()
        output = self._run(["wrk", *options, self.url, "--", plan], seconds)
        try:
            result = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError):
            raise Failed(f"wrk did not report a result:\n{output}") from None
        errors = {kind: count for kind, count in result["errors"].items() if count}
        return _result(result["requests"], result["seconds"], result["p50_ms"], result["p99_ms"], errors)

    def _plan(self, think_ms):
        fields = {
            "method": _lua(self.workload.method),
            "body": _lua(self.workload.body) if self.workload.body else "nil",
            "think_ms": f"{think_ms:.3f}",
            "headers": "{" + ", ".join(f"[{_lua(k)}] = {_lua(v)}" for k, v in self.headers().items()) + "}",
            "tokens": "{" + ", ".join(map(_lua, self.tokens)) + "}" if self.tokens else "nil",
        }
        return "return {" + ", ".join(f"{name} = {value}" for name, value in fields.items()) + "}\n"

    def _h2load(self, seconds, rate=None):
        connections = self.workload.connections
        log = self.folder / "h2load.log"
        log.unlink(missing_ok=True)
        options = f"-t1 -c{connections} -m{self.workload.streams} --log-file={log}".split()
        if rate:
            # Connections opened two at a time, else all 64 send in the same moment, again and again: what is then
            # measured is how long the queue of such a burst takes.
            options += f"-n{rate * seconds} --rps={rate / connections:.4f} -r2 --rate-period=7ms".split()
        else:
            options.append(f"-D{seconds}")
        output = self._run(["h2load", *options, self.url], seconds)
        if "Application protocol: h2" not in output or "TLS Protocol: TLSv1.3" not in output:
            raise Failed(f"HTTP/2 over TLS 1.3 was not negotiated:\n{output}")
        requests = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        statuses = re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        finished = re.search(r"finished in ([\d.]+)(ms|s),", output)
        if not (requests and statuses and finished):
            raise Failed(f"h2load did not report a result:\n{output}")
        done, _, failed, errored, timeout = map(int, requests.groups())
        wrong = int(statuses[3]) + int(statuses[4])
        errors = {"failed": failed, "errored": errored, "timeout": timeout, "status": wrong}
        errors = {kind: count for kind, count in errors.items() if count}
        # One line per request: start in µs since the epoch, status, duration in µs.
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        log.unlink()
        if not times:
            raise Failed(f"h2load completed no request:\n{output}")
        if rate:
            seconds = float(finished[1]) / (1000 if finished[2] == "ms" else 1)
        return _result(done, seconds, _percentile(times, 50) / 1e3, _percentile(times, 99) / 1e3, errors)

    def _run(self, command, seconds):
        process = Process(command, self.core, self.folder / "load.log", stdout=subprocess.PIPE)
        try:
            output, _ = process.child.communicate(timeout=seconds + 30)
        except subprocess.TimeoutExpired:
            raise Failed(f"{command[0]} did not end within {seconds + 30} s") from None
        finally:
            process.stop()
        if process.child.returncode:
            raise Failed(f"{command[0]} ended with {process.child.returncode}:\n{process.last_words()}")
        return output.decode(errors="replace")


class Holder:
    """Connections that stay open until the `with` block ends."""

    def __init__(self, generator, count):
        self.count = count
        workload = generator.workload
        request = {
            "port": generator.port,
            "count": count,
            "tls": workload.tls,
            "method": workload.method,
            "path": workload.path,
            "headers": generator.headers(),
            "body": workload.body,
            "tokens": generator.tokens,
        }
        self.process = Process(
            [sys.executable, HERE / "holder.py"],
            generator.core,
            generator.folder / "holder.log",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(request))
        if self._hear() != "held":
            words = self.process.last_words()
            self.process.stop()
            raise Failed(f"{count} idle connections could not be opened:\n{words}")

    def alive(self):
        """How many the other side has not closed."""
        self._say("count")
        return int(self._hear() or 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def _say(self, line):
        try:
            self.process.child.stdin.write(line + "\n")
            self.process.child.stdin.flush()
        except BrokenPipeError:
            pass

    def _hear(self):
        return self.process.child.stdout.readline().strip()


def _result(requests, seconds, p50_ms, p99_ms, errors):
    if not requests:
        errors = {**errors, "no requests completed": 1}
    return {"requests": requests, "rps": requests / seconds, "p50_ms": p50_ms, "p99_ms": p99_ms, "errors": errors}


def _percentile(ordered, percent):
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _lua(text):
    """A Lua string literal with any bytes."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03d}" for b in text.encode()) + '"'
