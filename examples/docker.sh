#!/bin/sh
# One share in a Docker container, read-only. Docker runs as root and so may enter .views. With --mount the container is not
# started where the share is missing; -v would make an empty directory in its place.
set -eu

docker run --rm \
    --mount type=bind,source=/run/pkfs/app/.views/web,target=/run/secrets,readonly \
    --user 1000:1000 \
    alpine ls -R /run/secrets
