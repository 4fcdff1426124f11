#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/volume/state.h"
#include "test/unit/store/store_bed.h"

Suite *restart_suite(void);

START_TEST(clean_restarts_keep_everything)
{
	struct bed b;
	bed_init(&b);
	for (int round = 0; round < 5; round++) {
		bed_open(&b);
		struct store_partition *p =
			round == 0 ? bed_create(&b, "h", 2) : bed_find(&b, "h", 0);
		ck_assert_ptr_nonnull(p);
		ck_assert_int_eq(bed_next_seq(p), round * 10);
		for (int i = 0; i < 10; i++) {
			ck_assert_int_eq(bed_append(&b, p, round * 10 + i, 1), ERR_OK);
		}
		bed_check_all(&b, p, round * 10 + 10);
		store_partition_drop(&p);
		bed_close(&b);
	}
	bed_fini(&b);
}
END_TEST

START_TEST(recreated_hub_starts_empty_after_restart)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 2);
	ck_assert_int_eq(bed_append(&b, p, 0, 9), ERR_OK);
	store_partition_drop(&p);
	struct catalog_command cmd = ops_create("h", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	bed_close(&b);
	bed_open(&b);
	ck_assert_ptr_null(bed_find(&b, "h", 0));
	p = bed_create(&b, "h", 2);
	ck_assert_int_eq(bed_next_seq(p), 0);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_OK);
	store_partition_drop(&p);
	cmd.op = CATALOG_HUB_UPDATE;
	cmd.partitions = 5;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	bed_close(&b);
	bed_open(&b);
	p = bed_find(&b, "h", 0);
	bed_check_all(&b, p, 1);
	store_partition_drop(&p);
	p = bed_find(&b, "h", 4);
	ck_assert_ptr_nonnull(p);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

/* What a killed process had been told, by partition. */
struct told {
	int64_t acked[3];
};

/* Opens, appends with many in flight, tells through the pipe what was answered
 * and dies without a word. */
static void child_main(struct bed *b, int fd, bool is_first, int64_t answers)
{
	enum { WINDOW = 64 };
	bed_open(b);
	struct store_partition *p[3];
	if (is_first) {
		p[0] = bed_create(b, "h", 3);
		store_partition_drop(&p[0]);
	}
	static struct ops_append a[3][WINDOW];
	int64_t next[3];
	struct told told;
	for (uint32_t k = 0; k < 3; k++) {
		p[k] = bed_find(b, "h", k);
		next[k] = bed_next_seq(p[k]);
		told.acked[k] = next[k];
	}
	int64_t done = 0;
	for (unsigned turn = 0; done < answers; turn++) {
		uint32_t k = turn % 3;
		uint32_t slot = turn / 3 % WINDOW;
		struct ops_append *x = &a[k][slot];
		if (turn / 3 >= WINDOW) {
			ops_until(&b->mb, &x->is_done);
			ck_assert_int_eq(x->op.err, ERR_OK);
			ck_assert_int_eq(x->op.base_seq, x->value);
			told.acked[k] = x->op.base_seq + x->op.events;
			done++;
		}
		uint32_t n = turn % 7 == 0 ? 5 : 1;
		ops_append_init(x, p[k], &b->mb, next[k], n, turn % 11 == 0 ? 3000 : 40, NULL);
		next[k] += n;
		store_append(b->store, &x->op);
	}
	(void)!write(fd, &told, sizeof told);
	_exit(0);
}

static void run_and_die(struct bed *b, bool is_first, struct told *told)
{
	int fd[2];
	ck_assert_int_eq(pipe(fd), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		child_main(b, fd[1], is_first, 1500);
	}
	close(fd[1]);
	ck_assert_int_eq(read(fd[0], told, sizeof *told), sizeof *told);
	close(fd[0]);
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void assert_kept(struct bed *b, const struct told *told)
{
	for (uint32_t k = 0; k < 3; k++) {
		struct store_partition *p = bed_find(b, "h", k);
		ck_assert_ptr_nonnull(p);
		int64_t next = bed_next_seq(p);
		ck_assert_int_ge(next, told->acked[k]);
		bed_check_all(b, p, next);
		store_partition_drop(&p);
	}
}

START_TEST(unclean_restarts_keep_what_was_acknowledged)
{
	struct bed b;
	bed_init(&b);
	struct told told;
	for (int round = 0; round < 3; round++) {
		run_and_die(&b, round == 0, &told);
		struct stat st;
		ck_assert_int_ne(stat(bed_path(&b, "CLEAN"), &st), 0);
	}
	bed_open(&b);
	assert_kept(&b, &told);
	bed_close(&b);
	bed_open(&b);
	assert_kept(&b, &told);
	bed_fini(&b);
}
END_TEST

static void spoil(const char *path)
{
	FILE *f = fopen(path, "r+");
	ck_assert_ptr_nonnull(f);
	for (int i = 0; i < 16384; i++) {
		fputc(0x5a, f);
	}
	fclose(f);
}

START_TEST(damaged_or_missing_state_is_rebuilt)
{
	struct bed b;
	bed_init(&b);
	for (int round = 0; round < 3; round++) {
		bed_open(&b);
		char name[32];
		for (int i = 0; i < 3; i++) {
			snprintf(name, sizeof name, "h%d-%d", round, i);
			struct store_partition *p = bed_create(&b, name, 2);
			ck_assert_int_eq(bed_append(&b, p, 0, 4), ERR_OK);
			store_partition_drop(&p);
		}
		struct catalog_command cmd = ops_create(name, 0);
		cmd.op = CATALOG_HUB_DELETE;
		ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
		bed_close(&b);
		if (round < 2) {
			spoil(bed_path(&b, "volume/state/data.mdb"));
		} else {
			unlink(bed_path(&b, "volume/state/data.mdb"));
		}
	}
	for (int round = 0; round < 2; round++) {
		bed_open(&b);
		const struct catalog *c = store_catalog(b.store);
		ck_assert_uint_eq(c->n_hubs, 6);
		ck_assert_uint_eq(c->next_hub_id, 10);
		catalog_drop(&c);
		struct store_partition *p = bed_find(&b, "h1-1", 0);
		bed_check_all(&b, p, 4);
		store_partition_drop(&p);
		bed_close(&b);
	}
	bed_fini(&b);
}
END_TEST

static void set_units(struct bed *b, uint32_t units, uint64_t limit)
{
	struct catalog_command cmd = {.op = CATALOG_UNITS_SET,
				      .units_by = CATALOG_UNITS_BY_USER,
				      .has_units = true,
				      .has_deflate_after = true,
				      .units = {.units = units, .deflate_after_ms = 5000}};
	ck_assert_int_eq(bed_command(b, &cmd), ERR_OK);
	cmd = (struct catalog_command){
		.op = CATALOG_LIMIT_PUT,
		.limit = {.kind = CATALOG_LIMIT_PARTITION, .name = "h", .in_bytes = limit}};
	ck_assert_int_eq(bed_command(b, &cmd), ERR_OK);
	cmd.limit.kind = CATALOG_LIMIT_CLIENT;
	ck_assert_int_eq(bed_command(b, &cmd), ERR_OK);
	cmd.op = CATALOG_LIMIT_DELETE;
	ck_assert_int_eq(bed_command(b, &cmd), ERR_OK);
	ck_assert_int_eq(bed_command(b, &cmd), ERR_NOT_FOUND);
}

static void check_units(struct bed *b, uint32_t units, uint64_t limit)
{
	const struct catalog *c = store_catalog(b->store);
	ck_assert_uint_eq(c->units.units, units);
	ck_assert_uint_eq(c->units.base, units);
	ck_assert_int_eq(c->units.deflate_after_ms, 5000);
	ck_assert_uint_eq(c->n_limits, 1);
	ck_assert_int_eq(c->limits[0].kind, CATALOG_LIMIT_PARTITION);
	ck_assert_str_eq(c->limits[0].name, "h");
	ck_assert_uint_eq(c->limits[0].in_bytes, limit);
	catalog_drop(&c);
}

/* From the state, from the log after it and from the log alone. */
START_TEST(units_and_limits_survive_stops_and_crashes)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	set_units(&b, 2, CATALOG_LIMIT_RATE_MAX);
	check_units(&b, 2, CATALOG_LIMIT_RATE_MAX);
	bed_close(&b);
	bed_open(&b);
	check_units(&b, 2, CATALOG_LIMIT_RATE_MAX);
	bed_close(&b);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		bed_open(&b);
		set_units(&b, LIMIT_UNITS, 1);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	bed_open(&b);
	check_units(&b, LIMIT_UNITS, 1);
	bed_close(&b);
	ck_assert_int_eq(unlink(bed_path(&b, "volume/state/data.mdb")), 0);
	bed_open(&b);
	check_units(&b, LIMIT_UNITS, 1);
	bed_fini(&b);
}
END_TEST

static enum err count_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	uint32_t *rows = arg;
	ck_assert(kind == CATALOG_ROW_NAMESPACE || kind == CATALOG_ROW_HUB);
	ck_assert_uint_eq(key.n, kind == CATALOG_ROW_HUB ? 4 : 0);
	ck_assert_uint_gt(content.n, 0);
	rows[kind]++;
	return ERR_OK;
}

START_TEST(stop_writes_the_catalogue_into_the_state)
{
	struct bed b;
	bed_init(&b);
	for (uint32_t round = 1; round <= 3; round++) {
		bed_open(&b);
		for (int i = 0; i < 2; i++) {
			char name[32];
			snprintf(name, sizeof name, "h%u-%d", round, i);
			struct store_partition *p = bed_create(&b, name, 2);
			store_partition_drop(&p);
			struct catalog_command cmd = ops_create(name, 0);
			cmd.op = CATALOG_HUB_DELETE;
			ck_assert(i == 0 || bed_command(&b, &cmd) == ERR_OK);
		}
		bed_close(&b);
		struct state *state = NULL;
		struct err_detail d = {""};
		uint32_t rows[3] = {0};
		uint64_t index;
		uint64_t term;
		ck_assert_int_eq(state_open(bed_path(&b, "volume"), false, &state, &d), ERR_OK);
		ck_assert_int_eq(state_load(state, 0, &index, &term, count_row, rows, &d), ERR_OK);
		state_close(&state);
		ck_assert_uint_eq(index, 1 + 3 * round);
		ck_assert_uint_eq(term, 1);
		ck_assert_uint_eq(rows[CATALOG_ROW_NAMESPACE], 1);
		ck_assert_uint_eq(rows[CATALOG_ROW_HUB], round);
	}
	bed_fini(&b);
}
END_TEST

/* Also after an orderly stop: a tree that cannot be read cannot be written to
 * either, and would stay as it is for ever. */
START_TEST(state_whose_tree_is_damaged_is_made_anew)
{
	enum { PAGE = 4096, META_AT_ROOT = 128 };
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct ops_command c = {.op = {.reply_to = &b.mb,
				       .done = ops_command_done,
				       .command = ops_create("h", 2)}};
	store_command(b.store, &c.op);
	ops_until(&b.mb, &c.is_done);
	ck_assert_int_eq(c.op.err, ERR_OK);
	bed_close(&b);
	int fd = open(bed_path(&b, "volume/state/data.mdb"), O_RDWR);
	ck_assert_int_ge(fd, 0);
	const uint64_t nowhere = 1 << 20;
	for (off_t meta = 0; meta < 2; meta++) {
		ck_assert_int_eq(pwrite(fd, &nowhere, sizeof nowhere, meta * PAGE + META_AT_ROOT),
				 sizeof nowhere);
	}
	close(fd);
	for (int i = 0; i < 2; i++) {
		bed_open(&b);
		const struct catalog *now = store_catalog(b.store);
		ck_assert_ptr_nonnull(catalog_hub_find(now, span_str("h")));
		catalog_drop(&now);
		bed_close(&b);
		/* What the log told is in a sound state again. */
		struct state *state;
		struct err_detail d = {""};
		enum err e = state_open(bed_path(&b, "volume"), true, &state, &d);
		ck_assert_msg(e == ERR_OK, "%s", d.text);
		state_close(&state);
	}
	bed_fini(&b);
}
END_TEST

Suite *restart_suite(void)
{
	Suite *s = suite_create("restart");
	TCase *t = tcase_create("restart");
	tcase_set_timeout(t, 240);
	tcase_add_test(t, clean_restarts_keep_everything);
	tcase_add_test(t, recreated_hub_starts_empty_after_restart);
	tcase_add_test(t, unclean_restarts_keep_what_was_acknowledged);
	tcase_add_test(t, units_and_limits_survive_stops_and_crashes);
	tcase_add_test(t, stop_writes_the_catalogue_into_the_state);
	tcase_add_test(t, damaged_or_missing_state_is_rebuilt);
	tcase_add_test(t, state_whose_tree_is_damaged_is_made_anew);
	suite_add_tcase(s, t);
	return s;
}
