"""Tries every way to see or change paths, as whoever runs it: reads paths from stdin, prints "way<TAB>path<TAB>result".

A result is the name of an error, "ok", or "=" and what was read. Each way leaves things as they were, where it works at all.
"""

import ctypes
import errno
import mmap
import os
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
OPENAT2, STATX_DONT_SYNC, STATX_BASIC = 437, 0x4000, 0x7FF
NO_XDEV, NO_MAGICLINKS, BENEATH, IN_ROOT, NO_SYMLINKS, CACHED = 0x01, 0x02, 0x08, 0x10, 0x04, 0x20
TAKEN = b"taken-by-the-probe"


def called(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def content(descriptor):
    try:
        return "=" + os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)


def opened(path, flags=os.O_RDONLY, **how):
    return content(os.open(path, flags | os.O_CLOEXEC, **how))


def statx(path, flags, directory=AT_FDCWD, mask=STATX_BASIC):
    called(LIBC.statx(directory, os.fsencode(path), flags | 0x100, mask, ctypes.create_string_buffer(256)))


def openat2(path, resolve, flags=os.O_RDONLY):
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
    root = os.open(ROOT, os.O_PATH)
    try:
        return called(LIBC.syscall(OPENAT2, root, os.fsencode(os.path.relpath(path, ROOT)), how, len(how)))
    finally:
        os.close(root)


def through_handle(path):
    """Only root may come back by a handle, wherever it is from."""
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    called(LIBC.name_to_handle_at(AT_FDCWD, os.fsencode(path), handle, ctypes.byref(ctypes.c_int()), 0))
    root = os.open(ROOT, os.O_RDONLY)
    try:
        return content(called(LIBC.open_by_handle_at(root, handle, os.O_RDONLY)))
    finally:
        os.close(root)


class Ring:
    """Opens by io_uring, in a thread of the kernel's for this process; `None` where the machine allows none."""

    def __init__(self):
        parameters = ctypes.create_string_buffer(120)
        self.ring = LIBC.syscall(425, 1, parameters)
        if self.ring < 0:
            return
        words = struct.unpack_from("10I10I10I", parameters)
        self.sq, self.cq = words[10:], words[20:]
        length = max(self.sq[6] + 4 * words[0], self.cq[5] + 16 * words[1])
        self.memory = mmap.mmap(self.ring, length, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0)
        self.entry = mmap.mmap(self.ring, 64 * words[0], mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0x10000000)

    def word(self, at):
        return struct.unpack_from("I", self.memory, at)[0]

    def open(self, path):
        if self.ring < 0:
            return opened(path)
        name = ctypes.create_string_buffer(os.fsencode(path))
        # IORING_OP_OPENAT, IOSQE_ASYNC.
        struct.pack_into("=BBHiQQIIQ24x", self.entry, 0, 18, 16, 0, AT_FDCWD, 0, ctypes.addressof(name), 0, os.O_CLOEXEC, 0)
        struct.pack_into("I", self.memory, self.sq[6], 0)
        struct.pack_into("I", self.memory, self.sq[1], self.word(self.sq[1]) + 1)
        called(LIBC.syscall(426, self.ring, 1, 1, 1, None, 0))
        head = self.word(self.cq[0])
        result = struct.unpack_from("=Qi", self.memory, self.cq[5] + 16 * (head & self.word(self.cq[2])))[1]
        struct.pack_into("I", self.memory, self.cq[0], head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return content(result)


def path_only(path, use):
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return use(descriptor)
    finally:
        os.close(descriptor)


def link_itself(descriptor):
    """Where a link leads that is held by a path descriptor; of what is no link the kernel says that it is not there."""
    try:
        return "=" + os.readlink("", dir_fd=descriptor)
    except FileNotFoundError:
        os.fstat(descriptor)
        raise OSError(errno.EINVAL, "no link")


def link_of(descriptor, path):
    """A second name for what is held by a path descriptor."""
    called(LIBC.linkat(descriptor, b"", AT_FDCWD, os.fsencode(path), AT_EMPTY_PATH))


def mapped(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as memory:
            return "=" + memory[:].decode()
    finally:
        os.close(descriptor)


def within(path):
    """Into a directory and out again by `..`."""
    os.chdir(path)
    try:
        return "=" + ",".join(sorted(os.listdir(".")))
    finally:
        os.chdir("/")


def scanned(path):
    with os.scandir(path) as entries:
        return "=" + ",".join(sorted(entry.name for entry in entries if entry.stat(follow_symlinks=False)))


def watched(path):
    inotify = called(LIBC.inotify_init1(os.O_CLOEXEC))
    try:
        called(LIBC.inotify_add_watch(inotify, os.fsencode(path), 0xFFF | 0x02000000))
    finally:
        os.close(inotify)


SEEING = {
    "stat": os.stat,
    "lstat": os.lstat,
    "access": lambda path: None if os.access(path, os.F_OK) else called_access(path),
    "open": opened,
    "open-nofollow": lambda path: opened(path, os.O_NOFOLLOW),
    "open-nonblock": lambda path: opened(path, os.O_NONBLOCK),
    "openat2": lambda path: content(openat2(path, 0)),
    "openat2-beneath": lambda path: content(openat2(path, BENEATH | NO_SYMLINKS)),
    "openat2-in-root": lambda path: content(openat2(path, IN_ROOT)),
    "openat2-no-xdev": lambda path: content(openat2(path, NO_XDEV)),
    "openat2-no-magiclinks": lambda path: content(openat2(path, NO_MAGICLINKS)),
    "io-uring": lambda path: RING.open(path),
    "mmap": mapped,
    "readlink": os.readlink,
    "getxattr": lambda path: "=" + os.getxattr(path, "user.pkfs.version").decode(),
    "listxattr": lambda path: "=" + ",".join(sorted(os.listxattr(path))),
    "setxattr": lambda path: os.setxattr(path, "user.a", b"x"),
    "statfs": os.statvfs,
    "list": lambda path: "=" + ",".join(sorted(os.listdir(path))),
    "scan": scanned,
    "chdir": within,
    "watch": watched,
    "proc-root": lambda path: opened(f"/proc/self/root{path}"),
    "dot-dot": lambda path: opened(os.path.join(ROOT, "common", "..", os.path.relpath(path, ROOT))),
    "dot-dot-itself": lambda path: os.stat(os.path.join(path, "..")),
    "o-path-stat": lambda path: path_only(path, os.fstat),
    "o-path-open": lambda path: path_only(path, lambda d: opened(f"/proc/self/fd/{d}")),
    "o-path-chdir": lambda path: path_only(path, os.fchdir) or os.chdir("/"),
    "o-path-readlink": lambda path: path_only(path, link_itself),
    "o-path-list": lambda path: path_only(path, lambda d: str(os.listdir(f"/proc/self/fd/{d}"))),
    "handle": through_handle,
}

# Ways that can learn a cached name and its attributes without a word to the mount.
CACHED_NAMES = {
    "o-path": lambda path: path_only(path, lambda d: None),
    "o-path-statx": lambda path: path_only(path, lambda d: statx("", AT_EMPTY_PATH | STATX_DONT_SYNC, d)),
    "statx-dont-sync": lambda path: statx(path, STATX_DONT_SYNC),
    "statx-nothing": lambda path: statx(path, 0, mask=0),
    "openat2-cached": lambda path: os.close(openat2(path, CACHED, os.O_PATH)),
}

# Ways that change something, and may not.
CHANGING = {
    "write": lambda path: os.close(os.open(path, os.O_WRONLY)),
    "read-write": lambda path: os.close(os.open(path, os.O_RDWR)),
    "append": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)),
    "overwrite": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
    "create": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)),
    "truncate": lambda path: os.truncate(path, 0),
    "chmod": lambda path: os.chmod(path, 0o777),
    "utime": os.utime,
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "symlink": lambda path: os.symlink("x", path),
    "link": lambda path: os.link(path, os.path.join(os.fsencode(ROOT), TAKEN)),
    "o-path-link": lambda path: path_only(path, lambda d: link_of(d, os.path.join(ROOT, "taken-by-the-probe"))),
    "link-within": lambda path: os.link(path, os.fsencode(path) + TAKEN),
    "rename": lambda path: os.rename(path, os.path.join(os.fsencode(ROOT), TAKEN)),
    "rename-within": lambda path: os.rename(path, os.fsencode(path) + TAKEN),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
}


def called_access(path):
    called(LIBC.access(os.fsencode(path), os.F_OK))


def tried(way, path):
    try:
        result = way(path)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return result if isinstance(result, str) and result.startswith("=") else "ok"


ROOT = sys.argv[1]
RING = Ring()
WAYS = {"see": SEEING, "cached": CACHED_NAMES, "change": CHANGING}
os.chdir("/")
os.umask(0o022)
for line in sys.stdin:
    name = line.rstrip("\n")
    for kind in sys.argv[2:]:
        for word, way in WAYS[kind].items():
            print(f"{kind}:{word}\t{name}\t{tried(way, os.path.join(ROOT, name))}", flush=True)
