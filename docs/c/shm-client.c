/* A client of shared memory: prints what it gets, and sends it back if asked to.
 * cc -O2 -Wall -o shm-client shm-client.c && ./shm-client /run/puntd/puntd.sock /run/puntd/fast.sock udp:3784 */
#include "punt_shm.h"

static void die(const char *what) { perror(what); exit(1); }

static void call(int engine, const char *request) { /* one line there, one line back */
    static char answer[65536];
    size_t have = 0;
    ssize_t more;
    if (write(engine, request, strlen(request)) < 0) die("engine");
    do {
        more = read(engine, answer + have, sizeof answer - 1 - have);
        if (more <= 0) die("engine");
        answer[have += more] = 0;
    } while (!strchr(answer, '\n'));
    if (strstr(answer, "\"error\":")) { fputs(answer, stderr); exit(1); }
}

int main(int argc, char **argv) {
    static uint64_t next[65536][8];
    static uint8_t seen[65536][8], reply[65535];
    struct punt_shm punt;
    struct punt_record *r;
    char request[1024];
    if (argc < 4) { fputs("usage: shm-client ENGINE PATH MATCH [reflect]\n", stderr); return 2; }

    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int engine = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", argv[1]);
    if (connect(engine, (struct sockaddr *)&at, sizeof at)) die(argv[1]);
    snprintf(request, sizeof request, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sink.add\",\"params\":"
             "{\"name\":\"example\",\"target\":\"shm:%s\",\"life\":\"session\"}}\n", argv[2]);
    call(engine, request);
    if (punt_shm_open(&punt, argv[2]) < 0) die(argv[2]);
    snprintf(request, sizeof request, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"register\",\"params\":"
             "{\"match\":\"%s\",\"sink\":\"example\",\"life\":\"session\"}}\n", argv[3]);
    call(engine, request);

    for (;;) {
        while ((r = punt_shm_next(&punt))) {
            uint16_t worker = r->worker, class = r->class & 7;
            uint64_t missed = seen[worker][class] ? r->sequence - next[worker][class] : 0;
            seen[worker][class] = 1, next[worker][class] = r->sequence + 1;
            printf("interface %u reason %u sequence %llu missed %llu bytes %u\n", r->interface, r->reason,
                   (unsigned long long)r->sequence, (unsigned long long)missed, r->captured);
            fflush(stdout);
            if (argc > 4 && r->captured >= 14 && r->captured <= sizeof reply) {
                memcpy(reply, r->frame + 6, 6), memcpy(reply + 6, r->frame, 6);
                memcpy(reply + 12, r->frame + 12, r->captured - 12);
                if (punt_shm_inject(&punt, 0, r->interface, reply, r->captured) < 0) die("inject");
            }
        }
        if (punt_shm_wait(&punt, -1) < 0) die("engine");
    }
}
