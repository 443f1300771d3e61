"""Debian's archive of packages, as this machine's apt reaches it, in a folder of its own."""

import re
import subprocess
from pathlib import Path

_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Archive:
    """Debian's archive, as the machine's apt reaches it, in a folder of its own.

    Args:
        folder: Lists of packages and fetched packages are kept there.
        codes: Languages of translated descriptions.

    Raises:
        LookupError: If apt reaches no archive.
    """

    def __init__(self, folder, codes):
        self.folder = folder.resolve()
        for part in ("lists/partial", "parts", "archives/partial", "packages", "unpacked"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self._options = []
        sources = self.folder / "sources.list"
        if not sources.exists():
            sources.write_text(self._found_sources())
        own = {
            "Dir::State::lists": "lists",
            "Dir::Cache": ".",
            "Dir::Etc::sourceparts": "parts",
            "Dir::Etc::sourcelist": sources,
        }
        self._options = [f"-o{option}={self.folder / path}" for option, path in own.items()]
        self._options += [f"-oAcquire::Languages={','.join(codes)}", "-oAPT::Sandbox::User=root"]
        if not list(self.folder.glob("lists/*Translation-*")):
            self._apt("update")

    def _found_sources(self):
        """The machine's own source of Debian's main part, with the installer's parts."""
        targets = self._apt("indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages")
        address, release, _ = next(line.split() for line in targets.splitlines() if line.endswith(" main"))
        signed = f"[signed-by={_KEYS}] " if Path(_KEYS).exists() else ""
        return f"deb {signed}{address} {release} main main/debian-installer\n"

    def _apt(self, command, *arguments, cwd=None):
        call = ["apt-get", "-q", *self._options, command, *arguments]
        done = subprocess.run(call, capture_output=True, text=True, cwd=cwd, check=False)
        if done.returncode:
            raise LookupError(f"{command} {' '.join(arguments)}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return done.stdout

    def entries(self, pattern):
        """Fields of each entry in the lists of this name: name -> value, with continuation lines."""
        for path in sorted(self.folder.glob(f"lists/{pattern}")):
            call = ["/usr/lib/apt/apt-helper", "cat-file", path]  # the lists are compressed as apt likes
            for entry in subprocess.run(call, capture_output=True, check=True).stdout.decode().split("\n\n"):
                if entry.strip():
                    yield dict(re.findall(r"^([\w-]+): ?(.*(?:\n .*)*)", entry, re.MULTILINE))

    def unpacked(self, package):
        """The folder of a package's files, with its control files in DEBIAN; None where apt can't fetch it."""
        folder = self.folder / "unpacked" / package
        if not folder.exists():
            try:
                self._apt("download", package, cwd=self.folder / "packages")
            except LookupError:
                return None
            (path,) = self.folder.glob(f"packages/{package}_*deb")
            subprocess.run(["dpkg-deb", "--raw-extract", path, folder], check=True)
            path.unlink()
        return folder
