/* The store beside a model of it: a child process does random things to a store
 * until it is killed; then what is there must be what the child was answered, plus
 * at most what it had asked for. Rounds go on with the same directory.
 *
 * Every event is its own sequence number in decimal, so content needs no second copy:
 * the model is, for each partition, how far appends were sent and answered, and how far
 * trims were. It lies in memory that the parent shares with the child.
 *
 * MODEL_SEED picks the run, MODEL_SECONDS how long it goes on. */

#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "test/lib/store_ops.h"

enum { HUBS = 6, PARTS = 3, KEYS = 20, WINDOW = 40, RUN_SECONDS = 15, LIFE_MAX_MS = 900 };

enum kind { PLAIN, TRIMMED, KEYED };

/* Of one hub name. A hub that comes back under its name is a new one. */
struct model_hub {
	enum kind kind;
	int exists;		/* as answered */
	int creating;		/* asked, not answered */
	int deleting;
	int64_t sent[PARTS];	/* next sequence number to be sent */
	int64_t acked[PARTS];	/* past the last answered */
	int64_t trim_sent[PARTS];
	int64_t trim_acked[PARTS];
};
struct model {
	struct model_hub hub[HUBS];
	uint64_t appended;
	uint64_t trims;
	uint64_t opens;
};

static struct model *model;
static char dir[96];
static char more_dir[96];

/* ---- a compactor for events whose key is their batch's ----------------------- */

static enum err walk(struct span batch, struct span key, enum batch_encoding encoding,
		     store_compact_fn *fn, void *arg)
{
	struct batch_iter it;
	struct batch_record r;
	enum err e = batch_iter_init(&it, batch);
	(void)encoding;
	while (e == ERR_OK && (e = batch_iter_next(&it, &r)) == ERR_OK) {
		struct store_compact_record c = {
			.has_key = key.n > 0, .offset_delta = r.offset_delta, .key = key};
		e = fn(arg, &c);
	}
	return e == ERR_EOF ? ERR_OK : e;
}

static enum err rewrite(struct span batch, enum batch_encoding encoding, const uint8_t *keep,
			struct str *out)
{
	(void)batch;
	(void)encoding;
	(void)keep;
	(void)out;
	ck_abort_msg("batches of one record are kept or dropped as a whole");
	return ERR_INTERNAL;
}

static const struct store_compactor compactor = {walk, rewrite};

static uint32_t key_of(int64_t seq)
{
	uint64_t h = (uint64_t)seq * 0x9e3779b97f4a7c15U;
	return (uint32_t)(h >> 40) % KEYS;
}

/* ---- the store ----------------------------------------------------------- */

static struct store *open_store(void)
{
	const char *more[] = {more_dir};
	struct store_options o = {
		.dir = dir,
		.more_dirs = more,
		.n_more_dirs = 1,
		.shards = 4,
		.node_id = 1,
		.segment_max_bytes = 1 << 20,
		.cache_bytes = 1 << 20,
		.retention_check_ms = 20,
		.compactor = &compactor,
		.export_interval_ms = 150,
		.clean_pause_ms = 50,
		.scrub_period_ms = 2000,
	};
	struct store *s;
	struct err_detail d = {""};
	enum err e = store_open(&o, &s, &d);
	ck_assert_msg(e == ERR_OK, "open: %s", d.text);
	return s;
}

static void hub_name(int at, char out[16])
{
	snprintf(out, 16, "hub-%d", at);
}

static struct store_partition *part_of(struct store *s, int at, int k)
{
	char name[16];
	hub_name(at, name);
	const struct catalog *c = store_catalog(s);
	const struct catalog_hub *h = catalog_hub_find(c, span_str(name));
	struct store_partition *p = NULL;
	if (h != NULL) {
		p = store_partition_find(s, (struct store_part){h->id, (uint32_t)k});
	}
	catalog_drop(&c);
	return p;
}

/* ---- the child ------------------------------------------------------------ */

struct slot {
	struct ops_append a;	/* first */
	int hub;
	int part;
};

struct child {
	struct store *store;
	struct mailbox mb;
	struct slot slots[WINDOW];
	int at;
};

static void settle(struct child *c, struct slot *s)
{
	if (s->a.op.partition == NULL) {
		return;
	}
	ops_until(&c->mb, &s->a.is_done);
	ck_assert_int_eq(s->a.op.err, ERR_OK);
	ck_assert_int_eq(s->a.op.base_seq, s->a.value);
	struct model_hub *h = &model->hub[s->hub];
	h->acked[s->part] = s->a.value + s->a.op.events;
	model->appended += s->a.op.events;
	store_partition_drop(&s->a.op.partition);
}

static void settle_all(struct child *c)
{
	for (int i = 0; i < WINDOW; i++) {
		settle(c, &c->slots[(c->at + i) % WINDOW]);
	}
}

static void do_append(struct child *c, int at)
{
	struct model_hub *h = &model->hub[at];
	int k = (int)(random() % PARTS);
	struct slot *s = &c->slots[c->at++ % WINDOW];
	settle(c, s);
	struct store_partition *p = part_of(c->store, at, k);
	ck_assert_ptr_nonnull(p);
	int64_t first = h->sent[k];
	uint32_t n = h->kind == KEYED ? 1 : 1 + (uint32_t)(random() % 5);
	size_t size = random() % 8 == 0 ? (size_t)(random() % 60000) : (size_t)(random() % 3000);
	char key[16];
	snprintf(key, sizeof key, "key-%u", key_of(first));
	ops_append_init(&s->a, p, &c->mb, first, n, size + 30, h->kind == KEYED ? key : NULL);
	s->a.op.may_merge = h->kind != KEYED && random() % 2 == 0;
	s->hub = at;
	s->part = k;
	h->sent[k] = first + n;
	store_append(c->store, &s->a.op);
}

static enum err do_command(struct child *c, const struct catalog_command *cmd)
{
	struct ops_command op = {
		.op = {.reply_to = &c->mb, .done = ops_command_done, .command = *cmd}};
	store_command(c->store, &op.op);
	ops_until(&c->mb, &op.is_done);
	return op.op.err;
}

static void do_create(struct child *c, int at)
{
	struct model_hub *h = &model->hub[at];
	char name[16];
	hub_name(at, name);
	*h = (struct model_hub){.kind = (enum kind)(random() % 3), .creating = 1};
	struct catalog_command cmd = ops_create(name, PARTS);
	if (h->kind == KEYED) {
		cmd.has_cleanup = true;
		cmd.cleanup = CATALOG_COMPACT;
	}
	ck_assert_int_eq(do_command(c, &cmd), ERR_OK);
	h->exists = 1;
	h->creating = 0;
}

static void do_delete(struct child *c, int at)
{
	struct model_hub *h = &model->hub[at];
	struct catalog_command cmd = {.op = CATALOG_HUB_DELETE};
	settle_all(c);
	hub_name(at, cmd.hub);
	h->deleting = 1;
	ck_assert_int_eq(do_command(c, &cmd), ERR_OK);
	h->exists = 0;
	h->deleting = 0;
}

struct trim {
	struct store_trim op;	/* first */
	bool is_done;
};

static void on_trim(struct msg *m)
{
	((struct trim *)m)->is_done = true;
}

static void do_trim(struct child *c, int at)
{
	struct model_hub *h = &model->hub[at];
	int k = (int)(random() % PARTS);
	if (h->kind != TRIMMED || h->acked[k] == 0) {
		return;
	}
	settle_all(c);
	int64_t to = h->trim_acked[k] +
		     random() % (h->acked[k] - h->trim_acked[k] + 1);
	h->trim_sent[k] = to;
	struct trim t = {.op = {.reply_to = &c->mb, .done = on_trim, .before_seq = to}};
	t.op.partition = part_of(c->store, at, k);
	store_trim(c->store, &t.op);
	ops_until(&c->mb, &t.is_done);
	ck_assert_int_eq(t.op.err, ERR_OK);
	ck_assert_int_eq(t.op.first_seq, to);
	h->trim_acked[k] = to;
	model->trims++;
	store_partition_drop(&t.op.partition);
}

static void check_part(struct store *s, struct mailbox *mb, int at, int k, bool is_quiet);

static void do_one(struct child *c)
{
	int at = (int)(random() % HUBS);
	struct model_hub *h = &model->hub[at];
	long what = random() % 1000;
	if (!h->exists) {
		do_create(c, at);
	} else if (what < 940) {
		do_append(c, at);
	} else if (what < 975) {
		do_trim(c, at);
	} else if (what < 978) {
		do_delete(c, at);
	} else if (what < 982) {
		settle_all(c);
		check_part(c->store, &c->mb, at, (int)(random() % PARTS), true);
	} else if (what < 983) {
		settle_all(c);
		store_close(c->store);
		store_free(&c->store);
		c->store = open_store();
		model->opens++;
	}
}

static void child_main(unsigned seed)
{
	static struct child c;
	srandom(seed);
	mailbox_init(&c.mb, NULL, NULL);
	c.store = open_store();
	model->opens++;
	for (;;) {
		do_one(&c);
	}
}

/* ---- checking -------------------------------------------------------------- */

struct seen {
	int64_t last_of_key[KEYS];	/* seen; -1: none */
	int64_t next;			/* what may follow */
};

static void check_batch(const struct store_batch *b, enum kind kind, int64_t first,
			struct seen *seen)
{
	struct batch_iter it;
	struct batch_record r;
	ck_assert_int_eq(batch_check(b->batch), ERR_OK);
	ck_assert_int_eq(batch_iter_init(&it, b->batch), ERR_OK);
	while (batch_iter_next(&it, &r) == ERR_OK) {
		int64_t seq = b->base_seq + r.offset_delta;
		ck_assert_int_eq(strtoll((const char *)r.value.p, NULL, 10), seq);
		if (seq < first) {
			continue;	/* of the batch that the start lies in */
		}
		if (kind == KEYED) {
			ck_assert_int_ge(seq, seen->next);
			seen->last_of_key[key_of(seq)] = seq;
		} else {
			ck_assert_int_eq(seq, seen->next);
		}
		seen->next = seq + 1;
	}
}

static void check_part(struct store *s, struct mailbox *mb, int at, int k, bool is_quiet)
{
	const struct model_hub *h = &model->hub[at];
	struct store_partition *p = part_of(s, at, k);
	ck_assert_ptr_nonnull(p);
	struct store_position pos;
	store_partition_position(p, &pos);
	ck_assert_int_ge(pos.next_seq, h->acked[k]);
	ck_assert_int_le(pos.next_seq, h->sent[k]);
	ck_assert(!is_quiet || pos.next_seq == h->sent[k]);
	ck_assert_int_ge(pos.first_seq, h->trim_acked[k]);
	ck_assert_int_le(pos.first_seq, h->trim_sent[k] > h->trim_acked[k] ? h->trim_sent[k]
									      : h->trim_acked[k]);
	struct seen seen = {.next = pos.first_seq};
	for (int i = 0; i < KEYS; i++) {
		seen.last_of_key[i] = -1;
	}
	int64_t from = pos.first_seq;
	while (from < pos.next_seq) {
		struct ops_read r = {.op = {.reply_to = mb,
					    .done = ops_read_done,
					    .partition = p,
					    .from = from,
					    .max_bytes = 200000}};
		store_read(s, &r.op);
		ops_until(mb, &r.is_done);
		ck_assert_int_eq(r.op.err, ERR_OK);
		ck_assert_uint_gt(r.op.out.n, 0);
		for (uint32_t i = 0; i < r.op.out.n; i++) {
			const struct store_batch *b = &r.op.out.v[i];
			check_batch(b, h->kind, pos.first_seq, &seen);
			from = b->base_seq + b->count;
		}
		store_batches_drop(&r.op.out);
	}
	/* The newest event of each key is there, always. */
	int64_t newest[KEYS];
	memset(newest, -1, sizeof newest);
	for (int64_t seq = 0; h->kind == KEYED && seq < pos.next_seq; seq++) {
		newest[key_of(seq)] = seq;
	}
	for (int i = 0; h->kind == KEYED && i < KEYS; i++) {
		ck_assert_int_eq(newest[i], seen.last_of_key[i]);
	}
	store_partition_drop(&p);
}

static bool hub_is_there(struct store *s, int at)
{
	struct store_partition *p = part_of(s, at, 0);
	bool is_there = p != NULL;
	store_partition_drop(&p);
	return is_there;
}

/* After a kill: what was asked for without an answer may have happened or not; from
 * here on the model is what is there. */
static void check_all(void)
{
	struct store *s = open_store();
	struct mailbox mb;
	mailbox_init(&mb, NULL, NULL);
	for (int at = 0; at < HUBS; at++) {
		struct model_hub *h = &model->hub[at];
		bool is_there = hub_is_there(s, at);
		ck_assert(is_there || !h->exists || h->deleting);
		ck_assert(!is_there || h->exists || h->creating);
		h->exists = is_there;
		h->creating = 0;
		h->deleting = 0;
		for (int k = 0; is_there && k < PARTS; k++) {
			check_part(s, &mb, at, k, false);
			struct store_partition *p = part_of(s, at, k);
			struct store_position pos;
			store_partition_position(p, &pos);
			h->sent[k] = pos.next_seq;
			h->acked[k] = pos.next_seq;
			h->trim_sent[k] = pos.first_seq;
			h->trim_acked[k] = pos.first_seq;
			store_partition_drop(&p);
		}
	}
	store_close(s);
	store_free(&s);
	mailbox_fini(&mb);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static long number_of(const char *name, long otherwise)
{
	const char *text = getenv(name);
	return text != NULL ? strtol(text, NULL, 10) : otherwise;
}

START_TEST(kills_and_restarts)
{
	long seed = number_of("MODEL_SEED", (long)time(NULL));
	long seconds = number_of("MODEL_SECONDS", RUN_SECONDS);
	fprintf(stderr, "MODEL_SEED=%ld\n", seed);
	const char *tmp = getenv("TMPDIR");
	char root[64];
	snprintf(root, sizeof root, "%.40s/sluice-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(dir, sizeof dir, "%s/data", root);
	snprintf(more_dir, sizeof more_dir, "%s/more", root);
	model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(model, MAP_FAILED);
	unsigned random_state = (unsigned)seed;
	int64_t end_ns = clock_mono_ns() + (int64_t)seconds * 1000000000;
	int rounds = 0;
	while (clock_mono_ns() < end_ns) {
		unsigned child_seed = (unsigned)rand_r(&random_state);
		pid_t pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			child_main(child_seed);
		}
		usleep((useconds_t)(30 + rand_r(&random_state) % LIFE_MAX_MS) * 1000);
		int status;
		ck_assert_msg(waitpid(pid, &status, WNOHANG) == 0,
			      "the child ended by itself in round %d of seed %ld", rounds, seed);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		check_all();
		rounds++;
	}
	fprintf(stderr, "%d rounds, %llu events, %llu trims, %llu opens\n", rounds,
		(unsigned long long)model->appended, (unsigned long long)model->trims,
		(unsigned long long)model->opens);
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
END_TEST

int main(void)
{
	log_setup(LOG_ERROR, false);
	Suite *s = suite_create("model");
	TCase *tc = tcase_create("kill");
	tcase_set_timeout(tc, (double)number_of("MODEL_SECONDS", RUN_SECONDS) + 120);
	tcase_add_test(tc, kills_and_restarts);
	suite_add_tcase(s, tc);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
