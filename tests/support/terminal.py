# Runs a program on a terminal of its own: `PROGRAM DIALOGUE ARGUMENT...`. For each pair of the dialogue, a list in JSON,
# it waits for the first text to appear and types the second. Ends as the program does; prints what was shown.
import json, os, pty, select, sys

program, dialogue, arguments = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(program, [os.path.basename(program)] + arguments)
seen = b""
at = 0
while True:
    ready, _, _ = select.select([fd], [], [], 60)
    if not ready:
        sys.stderr.write("no answer\n")
        os.kill(pid, 9)
        break
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
    while dialogue and dialogue[0][0].encode() in seen[at:]:
        expected, answer = dialogue.pop(0)
        at = seen.index(expected.encode(), at) + len(expected)
        os.write(fd, answer.encode())
sys.stdout.buffer.write(seen)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
