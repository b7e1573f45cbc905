"""A PostgreSQL server for tests: a named one, else one in a container, else the system's own, started for them.

CONSENT_LEDGER_TEST_POSTGRES=postgresql://user:password@host/database    that one; tests make schemas in it
else testcontainers, where a Docker engine answers and has the image
else initdb and postgres of the system, on a port and in a folder of their own, as somebody who is not root
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path

VARIABLE = "CONSENT_LEDGER_TEST_POSTGRES"
IMAGE = "postgres:16"
WAIT_SECONDS = 60


def says_something(handle, seconds):
    """Whether there is something to read from it, or it ends, in that time. Any number of a descriptor will do."""
    waiting = select.poll()
    waiting.register(handle, select.POLLIN | select.POLLHUP)
    return bool(waiting.poll(seconds * 1_000))


class Missing(Exception):
    """No server is to be had; says why."""


class Server:
    """A server that is there. Each schema that is asked for is a new one."""

    def __init__(self, address):
        self._address = address
        self._numbers = count()

    @property
    def address(self):
        """The address of any ledger in it, up to the name of its schema."""
        return f"{self._address}{'&' if '?' in self._address else '?'}schema="

    def schema(self):
        """The address of a ledger that does not exist yet."""
        return f"{self.address}test_{os.getpid()}_{next(self._numbers)}"

    def execute(self, statement):
        """Run a statement as whoever may everything. Returns its rows, if there are any."""
        import psycopg

        with psycopg.connect(self._address, autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    def stop(self):
        """Stop it, if it was started here."""


class Container(Server):
    """A server in a container."""

    def __init__(self):
        import docker
        from testcontainers.community.postgres import PostgresContainer

        client = docker.from_env()
        client.ping()
        client.images.get(IMAGE)  # what is not there is not fetched: a test is no download
        self._container = PostgresContainer(IMAGE, driver=None).start()
        super().__init__(self._container.get_connection_url())

    def stop(self):
        self._container.stop()


class Own(Server):
    """The system's own server in a folder that goes with it. Can be killed and started again."""

    def __init__(self):
        self.bin = _programs()
        self._as = {"user": "nobody", "group": _group(), "extra_groups": []} if os.geteuid() == 0 else {}
        self._settle()
        self._run("initdb", "-D", self.data, "-U", "ledger", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
        self.start()

    def _settle(self):
        """A folder and a port of its own."""
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # the path of a socket has at most 107 bytes
        if self._as:
            shutil.chown(self.folder, "nobody")
        self.data = self.folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        super().__init__(f"postgresql://ledger@127.0.0.1:{self.port}/postgres")

    def _run(self, program, *args):
        done = subprocess.run(
            [self.bin / program, *map(str, args)], cwd=self.folder, capture_output=True, text=True, check=False,
            timeout=WAIT_SECONDS, **self._as,
        )  # fmt: skip
        if done.returncode:
            raise Missing(f"{program}: {(done.stderr or done.stdout)[-500:]}")

    def start(self):
        # without fsync: what tests kill is the server, never the machine
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "-o", options, "start")

    def dump(self, *options, database="postgres"):
        """What pg_dump writes of a database, as bytes."""
        return self._output("pg_dump", "-h", "127.0.0.1", "-p", self.port, "-U", "ledger", *options, database)

    def load(self, dump, database):
        """Restore a dump into a database that is made for it."""
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "ledger", database)
        psql = ("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", "ledger")
        self._output(*psql, "-1", database, given=dump)

    def base_backup(self, *, replica=False):
        """Another server that has started from a copy of this one, made while it runs; a `replica` is only read."""
        copy = Own.__new__(Own)
        copy.bin, copy._as = self.bin, self._as
        copy._settle()
        self._run(
            "pg_basebackup", "-h", "127.0.0.1", "-p", self.port, "-U", "ledger", "-D", copy.data, "-N", "-c", "fast"
        )
        if replica:
            (copy.data / "standby.signal").touch()
        copy.start()
        return copy

    def _output(self, program, *args, given=None):
        done = subprocess.run(
            [self.bin / program, *map(str, args)], cwd=self.folder, input=given, capture_output=True, check=False,
            timeout=WAIT_SECONDS, **self._as,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def kill(self):
        """As if the machine had lost it: no server process writes another byte."""
        noted = self.data / "postmaster.pid"
        first = int(noted.read_text().split()[0])
        os.kill(first, signal.SIGSTOP)  # it has no more children
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        handles = []
        for pid in (first, *map(int, children)):
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(pid))
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        for handle in handles:
            assert says_something(handle, WAIT_SECONDS), "a process of the server outlives SIGKILL"
            os.close(handle)
        for lock in (noted, self.folder / f".s.PGSQL.{self.port}.lock"):
            lock.unlink()  # where nobody reaps it, the next one would take it for alive

    def stop(self):
        with suppress(Missing):
            self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)


def _programs():
    """The folder of initdb and pg_ctl."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        raise Missing("there is no PostgreSQL: install it, or name a server in " + VARIABLE)
    return folders[-1]


def _group():
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name


def server():
    """A server. Raises Missing where there is none to be had."""
    if address := os.environ.get(VARIABLE):
        return Server(address)
    with suppress(Exception):  # no library, no engine, no image
        return Container()
    return Own()
