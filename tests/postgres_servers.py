"""Real Postgres servers on this machine's loopback, started and killed by tests, and PgBouncer before them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from importlib import util
from pathlib import Path

import pytest
from ports import lasting_port

# Postgres and PgBouncer refuse to run as root.
USER = "postgres" if os.getuid() == 0 else None
# Nothing here outlives the machine, so nothing is synced.
SETTINGS = ("fsync=off", "listen_addresses=127.0.0.1", "shared_buffers=64MB", "max_connections=60", "autovacuum=off")


def _programs():
    """The newest server's folder of programs: Debian keeps it off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    return found[-1] if found else on_path and Path(on_path).parent


PROGRAMS = _programs()


def skip_without_postgres():
    if PROGRAMS is None or (USER and not _is_user(USER)):
        pytest.skip("needs a Postgres server: apt-get install postgresql", allow_module_level=True)
    if util.find_spec("psycopg") is None:
        pytest.skip('needs the package psycopg: pip install "late-rerank[postgres]"', allow_module_level=True)


def _is_user(name):
    try:
        return pwd.getpwnam(name) is not None
    except KeyError:
        return False


def fresh_schema():
    return f"test_{uuid.uuid4().hex[:12]}"


def _start(command, log):
    return subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, user=USER, cwd="/")


@contextmanager
def _folder():
    """A folder that the server's user may enter, as those of pytest aren't."""
    folder = Path(tempfile.mkdtemp(prefix="late-rerank-postgres-"))
    try:
        if USER:
            shutil.chown(folder, USER)
        yield folder
    finally:
        shutil.rmtree(folder)


class PostgresServer:
    """One server with an empty database, in the foreground: its end is this process's to see.

    Its superuser needs no password; other roles do, and TLS too where the server is certified.
    """

    def __init__(self, *settings, certified=False):
        self.settings = [*SETTINGS, *settings]
        self._certified = certified

    def __enter__(self):
        self._home = _folder()
        self.folder = self._home.__enter__()
        try:
            self.port = lasting_port()
            self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
            (self.folder / "log").touch()
            with (self.folder / "log").open("ab") as log:
                words = ["initdb", "-D", self.folder / "data", "-U", "postgres", "--no-sync", "-E", "UTF8", "--no-locale"]
                assert _start([PROGRAMS / words[0], *words[1:], "-A", "trust"], log).wait() == 0, self.log()
            others = "hostssl" if self._certified else "host"
            self._let_in(f"host all postgres all trust\nlocal all all trust\n{others} all all all scram-sha-256\n")
            if self._certified:
                self._certify()
            self.start()
        except BaseException:
            self._home.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc):
        self.kill()
        self._home.__exit__(*exc)

    def _let_in(self, rules):
        (self.folder / "data" / "pg_hba.conf").write_text(rules)

    def _certify(self):
        key, certificate = self.folder / "key.pem", self.folder / "cert.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*make, *names], check=True, capture_output=True)
        key.chmod(0o600)
        if USER:
            shutil.chown(key, USER)
        certificate.chmod(0o644)
        self.settings += ["ssl=on", f"ssl_key_file={key}", f"ssl_cert_file={certificate}"]

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def start(self):
        options = [word for setting in self.settings for word in ("-c", setting)]
        command = [PROGRAMS / "postgres", "-D", self.folder / "data", "-p", self.port, "-k", self.folder, *options]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with (self.folder / "log").open("ab") as log:
                self.running = _start(command, log)
            while self.running.poll() is None and time.monotonic() < deadline:
                if self._answers():
                    return
                time.sleep(0.02)
            # Killed just before: its processes hold the shared memory until they notice.
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(self.log())

    def _answers(self):
        done = subprocess.run(
            [str(PROGRAMS / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False, capture_output=True
        )
        return done.returncode == 0

    def _processes(self):
        """The server's own process, and those of its sessions and background work."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.running.pid)], capture_output=True, text=True, check=False
        )
        return [self.running.pid, *map(int, found.stdout.split())]

    def _signal(self, number):
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """Kill -9, all of it."""
        if self.running.poll() is None:
            self._signal(signal.SIGKILL)
        self.running.wait()

    @contextmanager
    def hanging(self):
        stopped = self._processes()
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def run(self, sql, *values, url=None):
        """Run SQL as the superuser; give its rows."""
        import psycopg

        with psycopg.connect(url or self.url, autocommit=True) as connection:
            cursor = connection.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def end_sessions(self):
        """End every session but the one that says so."""
        return len(self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'late-rerank'"))

    def url_of(self, role, password="secret"):
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/postgres"


def skip_without_pgbouncer():
    if shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin") is None:
        pytest.skip("needs pgbouncer: apt-get install pgbouncer", allow_module_level=True)


@contextmanager
def bouncer(server, pool_mode="transaction"):
    """PgBouncer before a server: each transaction gets one of two sessions, whichever is free. Gives its URL."""
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    port = lasting_port()
    with _folder() as folder:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "auth_type": "any",
            "pool_mode": pool_mode,
            "default_pool_size": 2,
            "server_reset_query_always": 1,  # DISCARD ALL after each transaction
            "server_login_retry": 1,
            "unix_socket_dir": "",
        }
        lines = [
            "[databases]",
            f"postgres = host=127.0.0.1 port={server.port} user=postgres",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        (folder / "ini").write_text("\n".join(lines))
        with (folder / "log").open("ab") as log:
            running = _start([program, folder / "ini"], log)
        try:
            deadline = time.monotonic() + 60
            while running.poll() is None and time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            assert running.poll() is None, (folder / "log").read_text()
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            running.kill()
            running.wait()
