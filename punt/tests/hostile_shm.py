"""A client of shared memory that does what it should not: hostile_shm.rs starts it, and says what is to come of it.

hostile_shm.py PATH WHAT     says in lines what it tried and how that ended
"""

import ctypes
import mmap
import os
import random
import signal
import socket
import struct
import sys
import time

PATH, WHAT = sys.argv[1:3]
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
LIBC.mprotect.argtypes = LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
PUNCH = 0x2 | 0x1  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
ADD_SEALS, REMOVE = 1033, 9  # F_ADD_SEALS, MADV_REMOVE
ENTRY = 128


def dial():
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.settimeout(20)
    stream.connect(PATH)
    return stream


class Memory:
    def __init__(self):
        # The engine takes a moment to see that the client before has gone.
        for _ in range(2000):
            self.stream = dial()
            line, files, _, _ = socket.recv_fds(self.stream, 4096, 2)
            if not line.startswith(b"refused"):
                break
            time.sleep(0.01)
        self.records, self.heads = files
        words = line.split()
        self.rings, self.data, self.stride = (int(words[at]) for at in (3, 5, 7))
        size = os.fstat(self.records).st_size
        self.seen = mmap.mmap(self.records, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self.mine = mmap.mmap(self.heads, os.fstat(self.heads).st_size, mmap.MAP_SHARED)
        # Loaded and stored whole; what `struct` packs is 0 for a moment.
        self.seen_words = memoryview(self.seen).cast("Q")
        self.mine_words = memoryview(self.mine).cast("Q")

    def tail(self, ring):
        return self.seen_words[ring * ENTRY // 8]

    def size(self, ring):
        return self.seen_words[ring * ENTRY // 8 + 1]

    def head(self, ring):
        return self.mine_words[(ring + 1) * ENTRY // 8]

    def set_head(self, ring, value):
        self.mine_words[(ring + 1) * ENTRY // 8] = value % 2**64

    def set_asleep(self):
        self.mine_words[0] = 1

    def made(self):
        return [ring for ring in range(self.rings) if self.size(ring)]

    def wait_for_records(self, ring):
        while self.tail(ring) - self.head(ring) < 64:
            time.sleep(0.0002)

    def read_some(self, ring):
        """Reads records as a client does, and says so."""
        words, head, tail = self.size(ring) // 8, self.head(ring), self.tail(ring)
        base = self.data + ring * self.stride
        while head < tail:
            at = base + head % words * 8
            if self.seen[at : at + 4] != b"PUNT":
                head += words - head % words
                continue
            head += (64 + struct.unpack_from("<I", self.seen, at + 8)[0] + 7) // 8
        self.set_head(ring, head)

    def close(self):
        self.stream.close()
        os.close(self.records)
        os.close(self.heads)


def attempt(name, call):
    try:
        call()
        print(name, "done", flush=True)
    except OSError as error:
        print(name, type(error).__name__ if error.errno is None else os.strerror(error.errno), flush=True)


def checked(result):
    if result in (-1, 2**64 - 1):
        raise OSError(ctypes.get_errno(), "")
    return result


def map_of(file, protection):
    return checked(LIBC.mmap(None, 4096, protection, mmap.MAP_SHARED, file, 0))


def honest():
    """Reads as a client does: every record is whole, and every gap is told."""
    memory, seen, before = Memory(), 0, {}
    while seen < 2000:
        for ring in memory.made():
            words, head, tail = memory.size(ring) // 8, memory.head(ring), memory.tail(ring)
            base = memory.data + ring * memory.stride
            while head < tail:
                at = base + head % words * 8
                if memory.seen[at : at + 8] == bytes(8):
                    head += words - head % words
                    continue
                magic, version, length, _, captured, _, sequence, lost = struct.unpack_from("<4sBBHIIQQ", memory.seen, at)
                assert (magic, version, length) == (b"PUNT", 1, 64)
                last = before.get(ring, (sequence - 1, lost))
                assert sequence - last[0] - 1 == lost - last[1], "a gap that is not told"
                before[ring] = (sequence, lost)
                head += (length + captured + 7) // 8
                seen += 1
            memory.set_head(ring, head)
    memory.close()
    print("honest done", flush=True)


def seals():
    memory = Memory()
    for name in ("records", "heads"):
        file = getattr(memory, name)
        attempt(f"{name} truncate", lambda: os.ftruncate(file, 0))
        attempt(f"{name} shrink", lambda: os.ftruncate(file, 100))
        attempt(f"{name} grow", lambda: os.ftruncate(file, 1 << 32))
        attempt(f"{name} punch", lambda: checked(LIBC.fallocate(file, PUNCH, 0, 4096)))
        attempt(f"{name} seal", lambda: __import__("fcntl").fcntl(file, ADD_SEALS, 0x8))
    file = memory.records
    attempt("records write", lambda: os.pwrite(file, bytes(4096), 0))
    attempt("records map", lambda: map_of(file, mmap.PROT_READ | mmap.PROT_WRITE))
    mapped = map_of(file, mmap.PROT_READ)
    attempt("records protect", lambda: checked(LIBC.mprotect(mapped, 4096, mmap.PROT_READ | mmap.PROT_WRITE)))
    attempt("records remove", lambda: checked(LIBC.madvise(mapped, 4096, REMOVE)))
    again = os.open(f"/proc/self/fd/{file}", os.O_RDWR)
    attempt("again write", lambda: os.pwrite(again, bytes(4096), 0))
    attempt("again map", lambda: map_of(again, mmap.PROT_READ | mmap.PROT_WRITE))
    attempt("again truncate", lambda: os.ftruncate(again, 0))
    attempt("again punch", lambda: checked(LIBC.fallocate(again, PUNCH, 0, 4096)))


def holes():
    """Punches holes into what it may, again and again, and says in between that it has read everything."""
    for _ in range(20):
        memory = Memory()
        length = os.fstat(memory.heads).st_size
        for _ in range(300):
            checked(LIBC.fallocate(memory.heads, PUNCH, 0, length))
            for ring in memory.made():
                memory.set_head(ring, memory.tail(ring))
        memory.close()
    print("holes done", flush=True)


def indices():
    """Writes every kind of index, each as another client. All of them are wrong."""
    rounds = 0
    wrong = [
        lambda head, tail: 2**64 - 1,
        lambda head, tail: head + 1,
        lambda head, tail: head - 1,
        lambda head, tail: tail - 1,
        lambda head, tail: tail + 2**40,
        lambda head, tail: head + 2**63,
        lambda head, tail: head ^ 2**32,
        lambda head, tail: random.randrange(2**62, 2**63),
    ]
    for value in wrong * 4:
        memory = Memory()
        ring = random.choice(memory.made())
        memory.wait_for_records(ring)
        memory.set_head(ring, value(memory.head(ring), memory.tail(ring)))
        # Once the ring is closed nobody waits for us, and it goes round.
        start, size = memory.tail(ring), memory.size(ring) // 8
        while memory.tail(ring) - start < 4 * size:
            time.sleep(0.001)
        memory.close()
        rounds += 1
    print("indices", rounds, flush=True)


def never_reads():
    memory = Memory()
    print("never reads", flush=True)
    while True:
        memory.set_asleep()
        time.sleep(0.001)


def thousand():
    """Connects a thousand times: goes at once, or reads a little and goes."""
    for _ in range(1000):
        dial().close()
    for _ in range(100):
        memory = Memory()
        for ring in memory.made():
            memory.read_some(ring)
        memory.close()
    print("thousand done", flush=True)


def crowd():
    """Connects beside another client, and stays."""
    crowd = [dial() for _ in range(400)]
    answers = [stream.recv(4096) for stream in crowd]
    print("crowd", sum(answer.startswith(b"refused: ") for answer in answers), flush=True)


def nonsense():
    """Sends what is no record, and too much of what is one."""
    for junk in (os.urandom(1 << 16), b"PUNT\x01\x40" + b"\xff" * 70, b"PUNT\x02\x40" + bytes(70), b"PUNT\x01\x3f" + bytes(70)):
        memory = Memory()
        try:
            memory.stream.sendall(junk)
            # It hangs up; wake-up bytes may come before.
            while memory.stream.recv(4096):
                pass
        except OSError:
            pass
        memory.close()
    memory = Memory()
    frame = bytes(60)
    record = struct.pack("<4sBBHIIQQQIIHHHBBII", b"PUNT", 1, 64, 0, 60, 60, 0, 0, 0, 9999, 0, 0, 65535, 65535, 0, 0, 0, 0)
    memory.stream.sendall((record + frame) * 20000 + record[:33])
    memory.close()
    print("nonsense done", flush=True)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_connected():
    dial()
    die()


def killed_with_files():
    Memory()
    die()


def killed_reading():
    memory = Memory()
    while True:
        for ring in memory.made():
            memory.read_some(ring)
        if random.random() < 0.01:
            die()


def killed_asleep():
    memory = Memory()
    memory.set_asleep()
    die()


def killed_sending():
    memory = Memory()
    memory.stream.sendall(b"PUNT\x01\x40" + bytes(40))
    die()


signal.alarm(100)
globals()[WHAT]()
