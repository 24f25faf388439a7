#!/bin/sh
# One share in a container of crun's, as root, over a root directory that holds busybox alone. runc takes the same bundle.
set -eu

bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
mkdir -p "$bundle/root/bin" "$bundle/root/proc" "$bundle/root/dev" "$bundle/root/run/secrets"
cp /bin/busybox "$bundle/root/bin/busybox"

cat >"$bundle/config.json" <<'CONFIG'
{
  "ociVersion": "1.0.2",
  "process": {
    "user": { "uid": 1000, "gid": 1000 },
    "cwd": "/",
    "args": ["/bin/busybox", "find", "/run/secrets"]
  },
  "root": { "path": "root", "readonly": true },
  "mounts": [
    { "destination": "/proc", "type": "proc", "source": "proc" },
    {
      "destination": "/run/secrets",
      "type": "bind",
      "source": "/run/pkfs/app/.views/web",
      "options": ["rbind", "ro", "nosuid", "nodev", "noexec"]
    }
  ],
  "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] }
}
CONFIG

crun run --bundle "$bundle" pkfs-example
