//! The ideas behind the commands, explained for `pkfs help` and the manual.

/// Each with its name.
pub(super) const ALL: [(&str, &str); 11] = [
    (
        "keynode",
        "A keynode is one file that holds secrets, encrypted, each with its whole history: a tar archive of a git
repository of OpenPGP messages, readable without pkfs by tar, git and gpg.

Every command takes the keynode first: its file (app.pk), a directory where one is mounted (/run/secrets), or @name
from the configuration (`pkfs help config`). PATH is always a path inside the keynode, never one of the host.
",
    ),
    (
        "config",
        "$XDG_CONFIG_HOME/pkfs/config.toml, or ~/.config/pkfs/config.toml, gives keynodes names: @app is [keynode.app], and @ alone
is the one named default.

  [keynode.app]
  file = \"~/secrets/app.pk\"          # relative to the home directory, unless absolute
  passphrase-file = \"/run/keys/app\"  # what unlocks it: this,
  key = \"/run/keys/app.key\"          # or this; a secret itself never stands here
  node = \"FINGERPRINT\"               # if it shall be no other; `pkfs info` shows it

Only file is needed. A word that is not known is an error. What is said on the command line counts more.
",
    ),
    (
        "unlocking",
        "What unlocks a keynode is looked for in this order:

  1. --passphrase-file FILE, --passphrase-fd N, --key FILE; if that fails, nothing else is tried
  2. PKFS_PASSPHRASE_FILE and PKFS_KEY, which name files and never hold a secret
  3. passphrase-file and key of @name in the configuration
  4. $CREDENTIALS_DIRECTORY/pkfs.passphrase or pkfs.key (systemd)
  5. the kernel's keyring, after `pkfs unlock KEYNODE --for 15m`, until `pkfs lock KEYNODE`
  6. a slot whose key gpg-agent holds, smart cards too
  7. a prompt on the terminal

A key is the node's own (init --key-out) or one that a slot is encrypted to (slot add). The last newline of a passphrase
file does not count. Nothing of these: exit status 3.
",
    ),
    (
        "slots",
        "A slot is a way to unlock a keynode: its key, encrypted to a passphrase or to somebody's OpenPGP certificate. Each slot
alone unlocks all of it.

  pkfs slot list app.pk                           what there is
  pkfs slot add app.pk --passphrase               a passphrase; there is one at most, and `pkfs passwd` changes it
  pkfs slot add app.pk --cert alice.asc           a certificate in a file
  pkfs slot add app.pk --gpg alice@example.org    one that gpg knows: gpg-agent or a smart card then unlocks
  pkfs slot remove app.pk NAME                    as `slot list` names it

Removing a slot does not take back what its owner has seen: whoever could unlock may have kept the key, so change the
values that matter as well. A keynode made with `init --key-out FILE` has no slot, and FILE unlocks it. The last slot is
only removed with --key-out, which writes the key to a file before.
",
    ),
    (
        "versions",
        "Nothing is ever overwritten: each put, and each file written in a mount from open to close, is the next version
of its secret. Versions count from 1, and a number never changes its meaning.

  pkfs log app.pk db/password           all versions
  pkfs get app.pk db/password -r 2      one of them
  pkfs diff app.pk db/password 1 2      two of them
  pkfs restore app.pk db/password -r 2  its value as a new version

A removed secret keeps its history under its last name, and a new one of that name continues it. In a mount the history
is .versions/db/password/1, 2, 3 and log.
",
    ),
    (
        "dates",
        "A date is RFC 3339 or the beginning of it, and means the end of the span that it names, in UTC:

  2026  2026-11  2026-11-24  2026-11-24T15  2026-11-24T15:04  2026-11-24T15:04:05Z  2026-11-24T15:04:05+01:00

--at DATE shows the keynode as it stood then; in a mount that is .versions/@DATE.
",
    ),
    (
        "mount",
        "`pkfs mount app.pk DIR` shows the keynode as a directory, in which secrets are plain files: cat, editors, cp, mv
and ln work as everywhere. A secret is decrypted when it is first read. What was synced or closed is on disk in the
keynode. History is in .versions, which listings do not show.

`pkfs umount DIR` ends it. Where the file cannot be written, the mount is read-only. After `pkfs install` mount(8) and fstab
know the type fuse.pkfs:

  /srv/app.pk /run/secrets fuse.pkfs key=/etc/app.key,allow_other,nofail 0 0

Options (-o):

  ro, rw            whether anything can be changed
  allow_other       users other than the one who mounts may look; permissions of files count
  suid, dev, exec   switched off unless asked for
  no_page_cache     the kernel keeps nothing of what files hold, but for files that are mapped
  xattr             secrets have the extended attributes user.pkfs.version, .id and .writer
  cache=SIZE        for decrypted contents, in locked memory [64M]
  max_size=SIZE     how much data a secret may have, holes aside [64M]
  uid=N, gid=N      shown as owner and group of everything
  umask=MODE        permission bits to hide
",
    ),
    (
        "shares",
        "A share is a name for parts of the keynode: paths, each with all that is or comes below it. A rule lets processes
on the machine of a mount see it:

  pkfs share create app.pk web web/tls db/web-password
  pkfs share allow app.pk web --user www-data

On a mount by root, or with -o allow_other, every process sees the union of the shares that its rules allow, read-only
unless --write, and nothing else; who mounted sees all, and root in a container without a user namespace of its own is
root. Rules act at once on mounts that stand; one that began without any goes by file permissions until it is mounted
anew. Conditions of one rule must all hold; rules add up. What a rule is worth:

  --uid, --user, --gid, --group   as much as Unix users: a process of another user does not get past it. Processes of one
                                  user can trace each other and share what any of them may see. Root can become anybody.
  --cgroup, --unit, --container   holds where processes cannot leave their cgroup: not against root, nor where cgroups
                                  are delegated to the user. Not seen of processes in a pid namespace of elsewhere.
  --exe, --sha256                 weak: whoever may run the program can preload a library into it (LD_PRELOAD), trace it, or
                                  have an interpreter do as told. Against accidents, not against attackers of the same user.

A path that is shared alone out of a directory that others see too: who guesses its name may learn that it is there, and
its size, never its content (O_PATH, statx); who watches the directory (inotify) hears its name when somebody opens or
changes it through the mount, and hears nothing there of what changes outside. So it is with the names in the top directory.
Share whole directories where that matters.

After a rule is taken away or ends, a process that stands in a directory of the share may still see attributes there
that the kernel remembers; it opens and lists nothing.

For a container, bind-mount DIR/.views/NAME, or mount one share: pkfs mount app.pk DIR --view NAME.

A share with --alert CMD is a tripwire: a mount that was begun with --alerts runs CMD by /bin/sh when a secret of the share
is opened, or refused to somebody, with PKFS_SHARE, PKFS_PATH, PKFS_VERDICT (allowed or refused), PKFS_WANT, PKFS_PID,
PKFS_UID, PKFS_GID and PKFS_EXE. The same user, path and verdict ring once a second. CMD runs as who mounted: --alerts
trusts everybody who can write the keynode.
",
    ),
    (
        "rules",
        "Rules stand in the keynode (`pkfs share allow`), or for one host in a file that is given at mount in their place:
pkfs mount app.pk DIR --rules FILE. The file is TOML:

  [share.web]
  paths = [\"web/tls\", \"db/web-password\"]
  alert = \"logger -t pkfs\"        # may be left out

  [[share.web.allow]]               # all of one table must hold; tables add up
  user = \"www-data\"               # uid, gid, user, group, cgroup, unit, container, exe, sha256
  until = \"2027-01-31\"
  write = false

What is not understood is refused, and nothing is mounted. A mount follows the keynode's rules as they change, and reads
the file once. Alerts of such a file are run without --alerts. DIR/.views and --view stay those of the keynode's shares.
",
    ),
    (
        "output",
        "Standard output carries the answer and nothing else; notes, progress and errors go to standard error. Lists are
columns on a terminal, tab-separated without headings otherwise, and JSON with --json, with dates in RFC 3339. Colours
on a terminal only, and not with NO_COLOR. -q says less, -v more; RUST_LOG sets the log.

`restore` and `rm -r` ask on a terminal before they replace a value or remove more than what is named, and need --yes
elsewhere. -N says only what would be done.
",
    ),
    (
        "status",
        "  0  done
  1  failed; the message says what, where, and what to do next
  2  wrong usage
  3  could not unlock
  4  verification failed: damaged or tampered with
  5  no such secret, version or slot
  6  not permitted
  7  diverged or rolled back: a decision is needed
  8  diff: there is something to report
",
    ),
];
