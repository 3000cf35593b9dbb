/* The handler at the door (ZAP): any frames from its socket inside the process.  Who gets in has
 * shown one of the keys of the directory, at the right address. */
#include "fuzz.h"

#include "connections.h"
#include "dw/broker.h"
#include "dw/process.h"
#include "keymaking.h"
#include "zap.h"

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

static const dw_time NOW = 1790000000000;
static struct dw_zap *zap;
static void *dealer;

static void add(struct dw_directory *d, const char *name, const char *role, int key)
{
    struct dw_program *p = dw_draft_program(d, name, role);
    memset(p->curve, key, DW_KEY_LEN);
    memset(p->sign, key, DW_KEY_LEN);
    p->from = dw_day_of(NOW) - (key == 3 ? 20 : 0); /* the third was */
    p->until = p->from + 10;
}

/* A folder with a directory of three keys; gone when the handler has read it. */
static void set_up(void)
{
    char folder[] = "/tmp/dengwen-fuzz-XXXXXX", path[100], text[64], remove[120];
    uint8_t seed[32] = {1};
    struct dw_config config;
    struct dw_error err;
    struct dw_signer root;
    struct dw_site site;
    struct dw_directory_watch *watch;
    must(sodium_init() >= 0 && mkdtemp(folder));
    dw_config_defaults(&config);
    config.folder = dw_strdup(folder);
    snprintf(path, sizeof path, "%s/admin", folder);
    must(dw_make_folder(path, 0700));
    dw_signer_init(&root, seed);
    must(dw_site_make(path, &root, dw_day_of(dw_now()) + 1000000));
    snprintf(path, sizeof path, "%s/keys", folder);
    must(dw_make_folder(path, 0755));
    snprintf(path, sizeof path, "%s/keys/root.pub", folder);
    dw_base64(text, sizeof text, root.public, 32);
    must(dw_write_file(path, text, strlen(text), 0644));
    must(dw_site_load(&config, &site, &err) == DW_OK);
    struct dw_directory *d = dw_directory_draft();
    add(d, "web", "web", 1);
    add(d, "n", "client", 2);
    add(d, "old", "web", 3);
    must(dw_directory_publish(&config, &site, d, &err) == DW_OK);
    dw_directory_free(d);
    must(dw_directory_watch_new(&config, &watch, &err) == DW_OK);
    snprintf(remove, sizeof remove, "rm -r %s", folder);
    must(system(remove) == 0);
    dw_site_free(&site);
    dw_signer_free(&root);
    dw_config_free(&config);
    void *zmq = zmq_ctx_new();
    zap = dw_zap_new(zmq, watch, 60000);
    dealer = zmq_socket(zmq, ZMQ_DEALER);
    must(zap && zmq_connect(dealer, "inproc://zeromq.zap.01") == 0);
    struct dw_directory *current = dw_directory_take(watch);
    char user[DW_USER_TEXT];
    dw_connection_user(dw_directory_by_name(current, "n", dw_day_of(NOW)), user);
    dw_directory_give(watch, current);
    dw_zap_ban(zap, user, 0); /* until a minute later */
}

/* A key of the directory, by its number, and words. */
static const void *special(void *arg, int number, struct dw_reader *r, size_t *len)
{
    static const char *const words[] = {"",      "1.0",      "CURVE",      "NULL",
                                        "PLAIN", DW_ZAP_OWN, DW_ZAP_GUESTS};
    static uint8_t key[DW_KEY_LEN];
    (void)arg, (void)r;
    if (number < 5) {
        memset(key, number, sizeof key);
        *len = sizeof key;
        return key;
    }
    *len = strlen(words[(size_t)(number - 5) % DW_COUNT(words)]);
    return words[(size_t)(number - 5) % DW_COUNT(words)];
}

/* May this request be answered 200?  Frames as they were sent: "", version, id, domain, address,
 * identity, mechanism, key. */
static bool may_enter(const struct fuzz_message *m, int64_t mono)
{
    const struct dw_slice *f = m->frames;
    if (m->count != 8 || !dw_slice_is(f[1], "1.0") || !dw_slice_is(f[6], "CURVE") ||
        f[7].len != DW_KEY_LEN)
        return false;
    for (size_t i = 1; i < DW_KEY_LEN; i++)
        if (f[7].data[i] != f[7].data[0])
            return false;
    return (f[7].data[0] == 1 && dw_slice_is(f[3], DW_ZAP_OWN)) ||
           (f[7].data[0] == 2 && dw_slice_is(f[3], DW_ZAP_GUESTS) && mono > 60000);
}

static void ask(const struct fuzz_message *m, int64_t mono)
{
    char frames[9][600];
    int count = 0, more = 1, len[9];
    size_t size = sizeof more;
    for (size_t i = 0; i < m->count; i++)
        must(zmq_send(dealer, m->frames[i].data, m->frames[i].len,
                      ZMQ_DONTWAIT | (i + 1 < m->count ? ZMQ_SNDMORE : 0)) >= 0);
    dw_zap_process(zap, mono, NOW);
    while (more &&
           (len[count] = zmq_recv(dealer, frames[count], sizeof frames[0], ZMQ_DONTWAIT)) >= 0) {
        count++;
        must(zmq_getsockopt(dealer, ZMQ_RCVMORE, &more, &size) == 0);
        must(count < 9);
    }
    if (!count)
        return;
    must(count == 7 && len[1] == 3 && memcmp(frames[1], "1.0", 3) == 0 && len[3] == 3);
    bool entered = memcmp(frames[3], "200", 3) == 0;
    must(entered || memcmp(frames[3], "400", 3) == 0);
    must(entered == may_enter(m, mono));
    must(entered == (len[5] > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dw_reader r = {.rest = DW_SLICE(data, len)};
    struct fuzz_message m;
    if (!zap)
        set_up();
    int64_t mono = dw_read_u8(&r) & 1 ? 100000 : 1000;
    fuzz_message_read(&m, &r, 12, special, NULL);
    ask(&m, mono);
    fuzz_message_free(&m);
    return 0;
}
