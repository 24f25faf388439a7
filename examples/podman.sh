#!/bin/sh
# One share in a Podman container of root's, read-only.
set -eu

podman run --rm \
    --mount type=bind,source=/run/pkfs/app/.views/web,target=/run/secrets,ro=true \
    --user 1000:1000 \
    docker.io/library/alpine ls -R /run/secrets

# A user's own containers (rootless) show a mount of the user's own, which the kernel keeps from all others; root in such
# a container is this user outside:
#
#   mkdir -p ~/secrets
#   pkfs mount ~/app.pk ~/secrets --view web
#   podman run --rm --mount type=bind,source="$HOME/secrets",target=/run/secrets,ro=true \
#       docker.io/library/alpine ls -R /run/secrets
#
# With --userns=keep-id or --user, others ask as well, and the mount must let them: user_allow_other in /etc/fuse.conf and
#
#   pkfs mount ~/app.pk ~/secrets --view web -o allow_other                   # --userns=keep-id; real modes decide
#   pkfs mount ~/app.pk ~/all -o allow_other; … source="$HOME/all/.views/web" # any --user
