/* load.c - many citizens at once: files reports over HTTP as fast as they are acknowledged.
 *
 *   bench_load -p PORT [-c CONNECTIONS] [-s SECONDS] [-n ACCEPTED] [-r FILE]
 *
 * Ends after SECONDS, or when ACCEPTED filings were acknowledged, whichever comes first; what is on
 * its way then is still waited for.  Only 202 counts.  Each filing is new: its own Idempotency-Key,
 * its own text, name, phone and e-mail.  FILE gets the receipts, one a line.
 *
 * One thread, one poll(), requests made once and patched in place: on a machine that also runs what
 * is measured, the generator must cost next to nothing.  What it did cost is printed too. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 256,
    REQUEST_MAX = 8192,
    ANSWER_MAX = 8192,
    STATUS_MAX = 600,
    NUMBER_LEN = 12,  /* decimal, in text, name, e-mail; its last eight digits in the phone */
    KEY_LEN = 32,
    FACTS_CHARS = 600,
    SAMPLES_STEP = 65536,
    PATIENCE_SECONDS = 30, /* no answer at all for so long: give up */
};

struct connection {
    int fd;
    char request[REQUEST_MAX];
    size_t request_len, sent;
    char *key, *numbers[3], *phone; /* what is patched */
    char answer[ANSWER_MAX];
    size_t got;
    int64_t asked_at; /* 0: idle */
};

static struct load {
    int port, connections;
    double seconds;
    long wanted; /* 0: no limit */
    FILE *receipts;

    struct connection all[CONNECTIONS_MAX];
    uint64_t random, serial;
    int64_t began, ended;
    long asked, on_way, statuses[STATUS_MAX], lost;
    uint32_t *samples; /* microseconds of the accepted */
    size_t samples_count;
} load;

static void fail(const char *what)
{
    fprintf(stderr, "bench_load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* xorshift64*: keys must differ, not be secret. */
static uint64_t next_random(void)
{
    load.random ^= load.random >> 12;
    load.random ^= load.random << 25;
    load.random ^= load.random >> 27;
    return load.random * 0x2545f4914f6cdd1dULL;
}

/* ---- requests ---- */

static size_t write_facts(char *out, size_t room)
{
    static const char sentence[] = "该医院长期挂床住院，患者并未实际住院却产生费用，我在科室工作亲眼所见。";
    size_t chars = 0, len = 0, each = 0;
    for (const char *p = sentence; *p; p++)
        each += ((unsigned char)*p & 0xc0) != 0x80;
    while (chars + each <= FACTS_CHARS && len + sizeof sentence < room) {
        memcpy(out + len, sentence, sizeof sentence);
        len += sizeof sentence - 1;
        chars += each;
    }
    return len;
}

static size_t write_body(char *out, size_t room)
{
    char facts[4096];
    write_facts(facts, sizeof facts);
    int n = snprintf(
        out, room,
        "{\"kind\":\"report\",\"language\":\"zh-CN\",\"against\":{\"type\":\"hospital\","
        "\"name\":\"某某医院\",\"district\":\"500108\"},\"acts\":[\"PU01\",\"PF02\"],"
        "\"facts\":\"第%0*d号。%s\",\"amount_yuan\":120000,\"relation\":\"present_staff\","
        "\"identity\":{\"name\":\"李%0*d\",\"phone\":\"13800000000\","
        "\"email\":\"a%0*d@example.org\",\"wants_reward\":true},"
        "\"notify\":{\"sms\":true,\"email\":true,\"call\":false},"
        "\"privacy_version\":\"2026-1\",\"truthful\":true}",
        NUMBER_LEN, 0, facts, NUMBER_LEN, 0, NUMBER_LEN, 0);
    if (n < 0 || (size_t)n >= room)
        fail("the filing is too long");
    return (size_t)n;
}

static char *find(char *in, const char *mark)
{
    char *at = strstr(in, mark);
    if (!at)
        fail("the template is broken");
    return at + strlen(mark);
}

static void make_request(struct connection *c)
{
    char body[6144];
    size_t body_len = write_body(body, sizeof body);
    int n = snprintf(c->request, sizeof c->request,
                     "POST /api/v1/filings HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n"
                     "Idempotency-Key: %0*d\r\n\r\n%s",
                     load.port, body_len, KEY_LEN, 0, body);
    if (n < 0 || (size_t)n >= sizeof c->request)
        fail("the request is too long");
    c->request_len = (size_t)n;
    c->key = find(c->request, "Idempotency-Key: ");
    c->numbers[0] = find(c->request, "第");
    c->numbers[1] = find(c->request, "李");
    c->numbers[2] = find(c->request, "\"a");
    while (*c->numbers[2] != '0') /* "against", "acts", "amount_yuan" come before "a000..." */
        c->numbers[2] = find(c->numbers[2], "\"a");
    c->phone = find(c->request, "\"138");
}

static void patch(struct connection *c)
{
    char text[40];
    uint64_t serial = load.serial++;
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)next_random(),
             (unsigned long long)next_random());
    memcpy(c->key, text, KEY_LEN);
    snprintf(text, sizeof text, "%0*llu", NUMBER_LEN, (unsigned long long)serial);
    for (int i = 0; i < 3; i++)
        memcpy(c->numbers[i], text, NUMBER_LEN);
    memcpy(c->phone, text + NUMBER_LEN - 8, 8);
}

/* ---- connections ---- */

static void open_connection(struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)load.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0)
        fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static bool wants_more(void)
{
    return !load.ended &&
           (!load.wanted || load.statuses[202] + load.on_way < load.wanted);
}

static void send_rest(struct connection *c)
{
    ssize_t n = send(c->fd, c->request + c->sent, c->request_len - c->sent, MSG_NOSIGNAL);
    if (n > 0)
        c->sent += (size_t)n;
}

static void ask(struct connection *c)
{
    patch(c);
    c->sent = c->got = 0;
    c->asked_at = now_us();
    load.asked++;
    load.on_way++;
    send_rest(c);
}

static void lose(struct connection *c)
{
    close(c->fd);
    if (c->asked_at) {
        load.on_way--;
        load.lost++;
    }
    c->asked_at = 0;
    open_connection(c);
}

/* ---- answers ---- */

/* Length of the whole answer, or 0 while its head is not complete. */
static size_t answer_len(struct connection *c)
{
    static const char field[] = "\r\nContent-Length:";
    c->answer[c->got] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end)
        return 0;
    char *length = strcasestr(c->answer, field);
    size_t body = length && length < end ? strtoul(length + sizeof field - 1, NULL, 10) : 0;
    return (size_t)(end - c->answer) + 4 + body;
}

static void keep_sample(int64_t us)
{
    if (load.samples_count % SAMPLES_STEP == 0) {
        load.samples = realloc(load.samples,
                               (load.samples_count + SAMPLES_STEP) * sizeof *load.samples);
        if (!load.samples)
            fail("memory");
    }
    load.samples[load.samples_count++] = (uint32_t)us;
}

static void keep_receipt(const struct connection *c)
{
    static const char field[] = "\"receipt\":";
    const char *at = strstr(c->answer, field);
    at = at ? strchr(at + sizeof field - 1, '"') : NULL;
    if (!at)
        fail("a 202 without a receipt");
    if (load.receipts)
        fprintf(load.receipts, "%.*s\n", (int)strcspn(at + 1, "\""), at + 1);
}

static void take_answer(struct connection *c)
{
    int status = atoi(c->answer + strlen("HTTP/1.1 "));
    if (status < 100 || status >= STATUS_MAX)
        fail("not an answer of HTTP");
    load.statuses[status]++;
    load.on_way--;
    if (status == 202) {
        keep_sample(now_us() - c->asked_at);
        keep_receipt(c);
    }
    c->asked_at = 0;
    if (strcasestr(c->answer, "\r\nConnection: close")) {
        close(c->fd);
        open_connection(c);
    }
}

static void serve(struct connection *c, short events)
{
    if (events & POLLOUT)
        send_rest(c);
    if (!(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    ssize_t n = recv(c->fd, c->answer + c->got, sizeof c->answer - 1 - c->got, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        lose(c);
        return;
    }
    c->got += (size_t)n;
    size_t len = answer_len(c);
    if (len >= sizeof c->answer)
        fail("an answer is too long");
    if (len && c->got >= len)
        take_answer(c);
}

/* ---- the run ---- */

static void turn(void)
{
    struct pollfd fds[CONNECTIONS_MAX];
    for (int i = 0; i < load.connections; i++) {
        struct connection *c = &load.all[i];
        if (!c->asked_at && wants_more())
            ask(c);
        bool sending = c->asked_at && c->sent < c->request_len;
        fds[i] = (struct pollfd){c->fd, (short)(POLLIN | (sending ? POLLOUT : 0)), 0};
    }
    if (poll(fds, (nfds_t)load.connections, PATIENCE_SECONDS * 1000) == 0)
        fail("no answer any more");
    for (int i = 0; i < load.connections; i++)
        if (fds[i].revents)
            serve(&load.all[i], fds[i].revents);
}

/* The first moment at which nothing new is asked; what is on its way is neither cut nor counted
 * into the rate of a run that ends by time. */
static void run(void)
{
    int64_t until = load.seconds > 0 ? now_us() + (int64_t)(load.seconds * 1e6) : INT64_MAX;
    load.began = now_us();
    while (!load.ended) {
        turn();
        if (now_us() >= until || (load.wanted && load.statuses[202] >= load.wanted))
            load.ended = now_us();
    }
}

static void drain(void)
{
    while (load.on_way > 0)
        turn();
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(double p)
{
    if (!load.samples_count)
        return 0;
    return load.samples[(size_t)(p * (double)(load.samples_count - 1))] / 1000.0;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print(long accepted)
{
    double seconds = (double)(load.ended - load.began) / 1e6;
    bool first = true;
    qsort(load.samples, load.samples_count, sizeof *load.samples, compare);
    printf("{\"connections\": %d, \"seconds\": %.3f, \"accepted\": %ld, \"per_second\": %.2f, "
           "\"accepted_in_all\": %ld, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, "
           "\"lost_connections\": %ld, \"generator_cpu_seconds\": %.3f, \"statuses\": {",
           load.connections, seconds, accepted, (double)accepted / seconds, load.statuses[202],
           percentile_ms(0.5), percentile_ms(0.99), percentile_ms(1), load.lost, cpu_seconds());
    for (int i = 0; i < STATUS_MAX; i++) {
        if (load.statuses[i])
            printf("%s\"%d\": %ld", first ? "" : ", ", i, load.statuses[i]);
        first = first && !load.statuses[i];
    }
    printf("}}\n");
}

static void read_options(int argc, char **argv)
{
    int option;
    load.connections = 32;
    while ((option = getopt(argc, argv, "p:c:s:n:r:")) != -1) {
        if (option == 'p')
            load.port = atoi(optarg);
        else if (option == 'c')
            load.connections = atoi(optarg);
        else if (option == 's')
            load.seconds = atof(optarg);
        else if (option == 'n')
            load.wanted = atol(optarg);
        else if (option == 'r' && !(load.receipts = fopen(optarg, "w")))
            fail(optarg);
    }
    if (optind == argc && load.port > 0 && load.port < 65536 && load.connections > 0 &&
        load.connections <= CONNECTIONS_MAX && (load.seconds > 0 || load.wanted > 0))
        return;
    fprintf(stderr, "usage: bench_load -p PORT [-c CONNECTIONS] [-s SECONDS] [-n ACCEPTED] "
                    "[-r FILE]\n       at least one of -s and -n\n");
    exit(2);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    load.random = (uint64_t)now_us() ^ (uint64_t)getpid() << 40;
    load.serial = (uint64_t)(now_us() % 1000000000000);
    for (int i = 0; i < load.connections; i++) {
        make_request(&load.all[i]);
        open_connection(&load.all[i]);
    }
    run();
    long accepted = load.statuses[202];
    drain();
    print(accepted);
    if (load.receipts && fclose(load.receipts) != 0)
        fail("receipts");
    for (int i = 0; i < load.connections; i++)
        close(load.all[i].fd);
    free(load.samples);
    return 0;
}
