#!/bin/sh
# One share in a Podman container of root's, read-only.
set -eu

podman run --rm \
    --mount type=bind,source=/run/pkfs/app/.views/web,target=/run/secrets,ro=true \
    alpine ls -R /run/secrets

# A user's own containers (rootless) show a mount of the user's own, which the kernel keeps from all others:
#
#   mkdir -p ~/secrets
#   pkfs mount ~/app.pk ~/secrets --view web
#   podman run --rm --mount type=bind,source="$HOME/secrets",target=/run/secrets,ro=true alpine ls -R /run/secrets
