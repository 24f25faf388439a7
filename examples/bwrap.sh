#!/bin/sh
# One share in a sandbox of bubblewrap's, as root: a system to run programs of, and the share in it.
set -eu

bwrap --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
    --proc /proc --dev /dev --tmpfs /run --dir /run/secrets \
    --ro-bind /run/pkfs/app/.views/web /run/secrets \
    --unshare-all --die-with-parent \
    ls -R /run/secrets

# Users other than root need none of this: pkfs run app.pk --view web -- COMMAND
