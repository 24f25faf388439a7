"""Runs a command in a container of crun's that has this machine's files, as a user of this number: USER COMMAND …"""

import json
import os
import subprocess
import sys
import tempfile

# crun wants cgroups of version 2 alone, and finds them so wherever it runs.
SCRIPT = """umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && mount --rbind / "$1/root" &&
exec crun --root "$1/state" --cgroup-manager=disabled run --bundle "$1" "pkfs-$$" """

user = int(sys.argv[1])
bundle = tempfile.mkdtemp(dir=os.path.dirname(os.path.abspath(__file__)))
os.mkdir(os.path.join(bundle, "root"))
config = {
    "ociVersion": "1.0.2",
    "process": {
        "user": {"uid": user, "gid": user},
        "cwd": "/",
        "args": sys.argv[2:],
        "env": ["PATH=/usr/bin:/bin"],
        "capabilities": {"bounding": [], "effective": [], "permitted": []},
    },
    "root": {"path": "root"},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {"namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts")]},
}
with open(os.path.join(bundle, "config.json"), "w") as file:
    json.dump(config, file)
# By pipes alone: crun gives the user whatever it is that the command reads and writes, and be it /dev/null.
command = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", bundle]
done = subprocess.run(command, input=sys.stdin.buffer.read(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
sys.stdout.buffer.write(done.stdout)
sys.stderr.buffer.write(done.stderr)
sys.exit(done.returncode)
