/* The files of a volume, changed as the input says: eight bytes for each change, at most
 * CHANGES of them. Verify and start-up must live, and what is read must be what was
 * written. Inputs are replayed as in main.c, but within a test of Check, which the
 * volume's bed needs. */

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test/unit/store_volume/ruin.h"

enum { CHANGE = 8, CHANGES = 8, PAGE = 4096, PATH_ROOM = 512 };

static struct ruin ruin;
static char input[PATH_ROOM];	/* that is being replayed */
static unsigned long replayed;
static char **names;

/* `n` bytes of the file at `from` to `at`. */
static void copy_within(const char *path, int64_t from, int64_t at, size_t n)
{
	uint8_t room[PAGE];
	int fd = open(path, O_RDWR);
	ssize_t got = pread(fd, room, n, from);
	if (got > 0) {
		(void)!pwrite(fd, room, (size_t)got, at);
	}
	close(fd);
}

static void set_bytes(const char *path, int64_t at, uint8_t value, size_t n)
{
	uint8_t room[PAGE];
	memset(room, value, sizeof room);
	int fd = open(path, O_RDWR);
	(void)!pwrite(fd, room, n, at);
	close(fd);
}

static void change(const uint8_t *c)
{
	const char *file = ruin.file[c[0] % ruin.n_files];
	char path[PATH_ROOM];
	ruin_path(&ruin, file, path, sizeof path);
	if (access(path, F_OK) != 0) {
		return;
	}
	int64_t size = bed_size(path);
	int64_t at = size > 0 ? (int64_t)(get_u32(c + 2) % (uint64_t)size) : 0;
	int64_t page = at / PAGE * PAGE;
	switch (c[1] % 9) {
	case 0:
		set_bytes(path, at, c[6], 1);
		break;
	case 1:
		set_bytes(path, at, c[6], 1 + c[7] % 16);
		break;
	case 2:
		(void)!truncate(path, at);
		break;
	case 3:
		(void)!truncate(path, page);
		break;
	case 4:
		(void)unlink(path);
		break;
	case 5:
		copy_within(path, (int64_t)c[6] * PAGE % (size + 1), page, PAGE);
		break;
	case 6:
		set_bytes(path, page, 0, PAGE);
		break;
	case 7: {
		/* LMDB's first two pages, and the heads of others, where it trusts what stands. */
		int64_t head = page + c[6] % 160;
		set_bytes(path, head < size ? head : at, c[7], 1);
		break;
	}
	default: {
		char other[PATH_ROOM];
		const char *b = ruin.file[c[6] % ruin.n_files];
		ruin_path(&ruin, b, other, sizeof other);
		if (strcmp(b, file) != 0 && access(other, F_OK) == 0) {
			ruin_swap(&ruin, file, b);
		}
		break;
	}
	}
}

static void test_one(const uint8_t *data, size_t size)
{
	ruin_copy(&ruin);
	for (size_t i = 0; i < CHANGES && (i + 1) * CHANGE <= size; i++) {
		change(data + i * CHANGE);
	}
	struct err_detail d;
	int64_t bad;
	ck_assert_int_eq(ruin_verify(&ruin, &d), ERR_OK);
	uint64_t findings = ruin.result.findings;
	ruin.was_clean = size > 0 && data[0] % 2 == 0;
	bool opens = ruin_open(&ruin, &bad, &d);
	/* What is refused or lost, verify tells. */
	ck_assert_msg(findings > 0 || (opens && bad == 0), "%s", d.text);
	replayed++;
}

static void replay_file(const char *path)
{
	uint8_t data[CHANGE * CHANGES];
	snprintf(input, sizeof input, "%s", path);
	int fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ssize_t n = read(fd, data, sizeof data);
	close(fd);
	ck_assert_int_ge(n, 0);
	test_one(data, (size_t)n);
}

static void replay(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	if (dir == NULL) {
		replay_file(path);
		return;
	}
	while ((e = readdir(dir)) != NULL) {
		char file[PATH_ROOM];
		if (e->d_name[0] != '.' &&
		    snprintf(file, sizeof file, "%s/%s", path, e->d_name) < PATH_ROOM) {
			replay_file(file);
		}
	}
	closedir(dir);
}

START_TEST(replay_all)
{
	ruin_init(&ruin);
	ruin.is_lenient = true;
	for (char **name = names; *name != NULL; name++) {
		replay(*name);
	}
	ruin_fini(&ruin);
}
END_TEST

int main(int argc, char **argv)
{
	names = argv + 1;
	(void)argc;
	Suite *s = suite_create("fuzz_volume");
	TCase *t = tcase_create("replay");
	tcase_add_test(t, replay_all);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_ENV);
	bool failed = srunner_ntests_failed(runner) > 0;
	srunner_free(runner);
	printf("%s: %lu inputs replayed\n", argv[0], replayed);
	if (failed) {
		printf("failed with %s\n", input);
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
