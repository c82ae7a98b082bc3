/* Punted packets in shared memory: the client's side of a sink with the target shm:PATH.
 *
 * One header, no library. `shm-client.c` beside it is a whole program; docs/clients.md says the rest, docs/decisions/shm.md why.
 *
 *     struct punt_shm punt;
 *     if (punt_shm_open(&punt, "/run/puntd/fast.sock") < 0) ...          errno says why; EBUSY: another client is connected
 *     for (;;) {
 *         struct punt_record *record;
 *         while ((record = punt_shm_next(&punt)))                        in place; valid until the next call
 *             ...
 *         if (punt_shm_wait(&punt, -1) < 0) ...                          ECONNRESET: the engine has gone
 *     }
 *
 * Little-endian machines with C11 atomics. Not for several threads at once.
 */
#ifndef PUNT_SHM_H
#define PUNT_SHM_H

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* What stands before each frame, in a ring and in what is sent back. */
struct punt_record {
    char magic[4];             /* PUNT */
    uint8_t version, length;   /* 1; bytes of this header */
    uint16_t flags;            /* 1 truncated, 2 copy, 4 fragment, 8 reassembled, 16 as rewritten */
    uint32_t captured;         /* bytes of frame that follow */
    uint32_t original;         /* bytes that it had */
    uint64_t sequence;         /* in this (worker, class), from 0; a gap is a loss */
    uint64_t lost;             /* in this (worker, class), so far */
    uint64_t received;         /* nanoseconds since 1970 */
    uint32_t interface;        /* index of the ingress; to send back, of the egress */
    uint32_t reason;
    uint16_t worker, l3, l4;   /* offsets; 0xffff if there is none */
    uint8_t class, action;     /* to send back: 0 send, 1 route IPv4, 2 route IPv6, 3 take as received */
    uint32_t registration, epoch;
    uint8_t frame[];
};
_Static_assert(offsetof(struct punt_record, frame) == 64, "the header has 64 bytes");

enum { PUNT_SHM_VERSION = 1, PUNT_ENTRY = 128, PUNT_TURN = 32 };

struct punt_shm {
    int stream;
    unsigned rings;            /* the most important class last */
    size_t data, stride, records_size, heads_size;
    const uint8_t *records;    /* the engine's: only to be read */
    uint8_t *heads;            /* ours: how far we have read */
    uint64_t *position;        /* the same, where nobody else can write */
    unsigned ring, turn;       /* whose turn it is, and for how many records */
};

static inline _Atomic uint64_t *punt_shm_word(const uint8_t *memory, size_t at) {
    return (_Atomic uint64_t *)(memory + at);
}

/* Says that everything returned so far is read, so that the engine may write there again. */
static inline void punt_shm_release(struct punt_shm *punt) {
    if (punt->ring < punt->rings)
        atomic_store_explicit(punt_shm_word(punt->heads, (punt->ring + 1) * PUNT_ENTRY), punt->position[punt->ring], memory_order_release);
}

/* Everything returned so far counts as read. */
static inline void punt_shm_close(struct punt_shm *punt) {
    if (punt->records && punt->heads && punt->position) punt_shm_release(punt);
    if (punt->records) munmap((void *)punt->records, punt->records_size);
    if (punt->heads) munmap(punt->heads, punt->heads_size);
    if (punt->stream >= 0) close(punt->stream);
    free(punt->position);
    memset(punt, 0, sizeof *punt);
    punt->stream = -1;
}

/* For the functions here. */
static inline int punt_shm_fail(struct punt_shm *punt, int why) {
    punt_shm_close(punt);
    errno = why;
    return -1;
}

/* Gets the memory at the engine's socket. Returns 0, or -1 with errno. */
static inline int punt_shm_open(struct punt_shm *punt, const char *path) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char line[256] = "", control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec part = { line, sizeof line - 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    unsigned version = 0;
    int files[2];
    struct stat records, heads;

    memset(punt, 0, sizeof *punt);
    punt->stream = -1;
    if (strlen(path) >= sizeof address.sun_path) return punt_shm_fail(punt, ENAMETOOLONG);
    punt->stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (punt->stream < 0 || connect(punt->stream, (struct sockaddr *)&address, sizeof address))
        return punt_shm_fail(punt, errno);
    if (recvmsg(punt->stream, &message, MSG_CMSG_CLOEXEC) <= 0) return punt_shm_fail(punt, ECONNRESET);
    if (!strncmp(line, "refused: ", 9)) return punt_shm_fail(punt, EBUSY);
    struct cmsghdr *with = CMSG_FIRSTHDR(&message);
    if (!with || with->cmsg_type != SCM_RIGHTS || with->cmsg_len != CMSG_LEN(sizeof files)) return punt_shm_fail(punt, EPROTO);
    memcpy(files, CMSG_DATA(with), sizeof files);
    int read = sscanf(line, "punt-shm %u rings %u data %zu stride %zu", &version, &punt->rings, &punt->data, &punt->stride);
    if (read == 4 && version == PUNT_SHM_VERSION && !fstat(files[0], &records) && !fstat(files[1], &heads)) {
        void *theirs = mmap(NULL, records.st_size, PROT_READ, MAP_SHARED, files[0], 0);
        void *ours = mmap(NULL, heads.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, files[1], 0);
        punt->records = theirs == MAP_FAILED ? NULL : theirs;
        punt->heads = ours == MAP_FAILED ? NULL : ours;
        punt->records_size = records.st_size;
        punt->heads_size = heads.st_size;
        punt->position = calloc(punt->rings, sizeof *punt->position);
    }
    close(files[0]), close(files[1]);
    if (!punt->records || !punt->heads || !punt->position) return punt_shm_fail(punt, EPROTO);
    for (unsigned ring = 0; ring < punt->rings; ring++)
        punt->position[ring] = *punt_shm_word(punt->heads, (ring + 1) * PUNT_ENTRY);
    punt->ring = punt->rings;
    return 0;
}

/* The next record of the ring whose turn it is, if there is one. */
static inline struct punt_record *punt_shm_take(struct punt_shm *punt) {
    size_t entry = (size_t)punt->ring * PUNT_ENTRY;
    uint64_t size = atomic_load_explicit(punt_shm_word(punt->records, entry + 8), memory_order_acquire) / 8; /* 0: not made yet */
    uint64_t tail = atomic_load_explicit(punt_shm_word(punt->records, entry), memory_order_acquire);
    uint64_t *position = &punt->position[punt->ring];
    const uint8_t *ring = punt->records + punt->data + punt->ring * punt->stride;
    if (!size || *position == tail) return NULL;
    uint64_t at = *position & (size - 1);
    if (!*punt_shm_word(ring, at * 8)) *position += size - at, at = 0; /* filled up to the end of the ring */
    struct punt_record *record = (struct punt_record *)(ring + at * 8);
    *position += (record->length + (uint64_t)record->captured + 7) / 8;
    return record;
}

/* The next record, the most important class first, or NULL if there is none now. It stays where it is until the next call. */
static inline struct punt_record *punt_shm_next(struct punt_shm *punt) {
    for (unsigned looked = 0; looked <= punt->rings; looked++) {
        punt_shm_release(punt);
        struct punt_record *record = punt->ring < punt->rings && punt->turn ? punt_shm_take(punt) : NULL;
        if (record) {
            punt->turn--;
            return record;
        }
        punt->ring = (punt->ring ? punt->ring : punt->rings) - 1;
        punt->turn = PUNT_TURN;
    }
    return NULL;
}

/* Whether there is a record. */
static inline int punt_shm_ready(struct punt_shm *punt) {
    for (unsigned ring = 0; ring < punt->rings; ring++)
        if (atomic_load_explicit(punt_shm_word(punt->records, (size_t)ring * PUNT_ENTRY), memory_order_acquire) != punt->position[ring]) return 1;
    return 0;
}

/* Sleeps until there is a record, for so many milliseconds at most, -1 for ever. Returns 1 if there is one, 0 if not, or -1 with errno.
 * To sleep in a loop of your own, do the same: say so, look once more, poll the stream, read from it. */
static inline int punt_shm_wait(struct punt_shm *punt, int milliseconds) {
    struct pollfd stream = { punt->stream, POLLIN, 0 };
    char bytes[64];
    atomic_store_explicit(punt_shm_word(punt->heads, 0), 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (!punt_shm_ready(punt) && poll(&stream, 1, milliseconds) > 0) {
        ssize_t got = recv(punt->stream, bytes, sizeof bytes, MSG_DONTWAIT);
        if (!got || (got < 0 && errno != EAGAIN && errno != EINTR)) return errno = ECONNRESET, -1;
    }
    atomic_store_explicit(punt_shm_word(punt->heads, 0), 0, memory_order_relaxed);
    return punt_shm_ready(punt);
}

/* Sends a packet back: action 0 to 3 as above. Returns 0, or -1 with errno. */
static inline int punt_shm_inject(struct punt_shm *punt, uint8_t action, uint32_t interface, const void *packet, uint32_t length) {
    struct punt_record header = { .magic = { 'P', 'U', 'N', 'T' }, .version = 1, .length = 64, .captured = length, .original = length,
                                  .interface = interface, .l3 = 0xffff, .l4 = 0xffff, .action = action };
    const char *parts[2] = { (const char *)&header, packet };
    size_t left[2] = { 64, length };
    for (int part = 0; part < 2; part++)
        while (left[part]) {
            ssize_t sent = send(punt->stream, parts[part], left[part], MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent < 0) return -1;
            parts[part] += sent, left[part] -= sent;
        }
    return 0;
}

#endif
