"""Programs that listen on every address of a machine, run where there is loopback alone: nobody else reaches them."""

import shutil
import subprocess
import sys

_LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x49))  # SIOCSIFFLAGS: up, running, loopback
os.execv(sys.argv[1], sys.argv[1:])
"""


def in_private_network(*command):
    """The command, in a network namespace of its own (Linux, as root)."""
    return ["unshare", "-n", sys.executable, "-c", _LOOPBACK_UP, *map(str, command)]


def why_not():
    """Why there can be no such network here; None if there can."""
    if shutil.which("unshare") is None:
        return "needs Linux with util-linux' unshare"
    tried = subprocess.run(in_private_network("/bin/true"), capture_output=True, text=True)
    return None if tried.returncode == 0 else f"needs to be root for a network of its own: {tried.stderr.strip()[-80:]}"
