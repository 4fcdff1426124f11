#include "store/volume/manifest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/volume/file.h"

enum {
	/* 100,000 segments of which every second one is gone take 2.5 MB. */
	MANIFEST_MAX = 64 << 20,
	MANIFEST_VERSION = 1,
	CRC_DIGITS = 8,
};

static const char *const names[] = {"MANIFEST", "MANIFEST.copy"};
enum { COPIES = sizeof names / sizeof *names };

/* ---- ranges ---------------------------------------------------------------- */

void manifest_fini(struct manifest *m)
{
	mem_free(m->log.v);
	mem_free(m->cleaned.v);
	*m = (struct manifest){0};
}

enum err manifest_add(struct manifest_ranges *r, uint64_t number)
{
	assert(r->n == 0 || number > r->v[r->n - 1].last);
	if (r->n > 0 && number == r->v[r->n - 1].last + 1) {
		r->v[r->n - 1].last = number;
		return ERR_OK;
	}
	if (!mem_grow((void **)&r->v, &r->cap, r->n + 1, sizeof *r->v)) {
		return ERR_NOMEM;
	}
	r->v[r->n++] = (struct manifest_range){number, number};
	return ERR_OK;
}

bool manifest_has(const struct manifest_ranges *r, uint64_t number)
{
	size_t lo = 0;
	size_t hi = r->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (r->v[mid].last < number) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo < r->n && r->v[lo].first <= number;
}

/* ---- text ------------------------------------------------------------------ */

static void print_hex(struct str *s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		str_printf(s, "%02x", p[i]);
	}
}

static void print_uuid(struct str *s, const uint8_t uuid[16])
{
	static const uint8_t part[] = {4, 2, 2, 2, 6};
	size_t at = 0;
	for (size_t i = 0; i < sizeof part; i++) {
		str_add(s, i > 0 ? "-" : "");
		print_hex(s, uuid + at, part[i]);
		at += part[i];
	}
}

static void print_ranges(struct str *s, const char *name, const struct manifest_ranges *r)
{
	for (size_t i = 0; i < r->n; i++) {
		str_printf(s, "%s=%llu-%llu\n", name, (unsigned long long)r->v[i].first,
			   (unsigned long long)r->v[i].last);
	}
}

enum err manifest_print(const struct manifest *m, struct str *out)
{
	str_printf(out, "sluice-manifest %d\nstore=", MANIFEST_VERSION);
	print_uuid(out, m->store_uuid);
	str_printf(out, "\ngeneration=%llu\nnext-cleaned=%llu\nbase=%llu\ncomplete=%d\n",
		   (unsigned long long)m->generation, (unsigned long long)m->next_cleaned,
		   (unsigned long long)m->base, m->is_complete ? 1 : 0);
	print_ranges(out, "log", &m->log);
	print_ranges(out, "cleaned", &m->cleaned);
	if (out->bad) {
		return ERR_NOMEM;
	}
	str_printf(out, "crc=%08x\n", crc32c(0, out->p, out->len));
	return out->bad ? ERR_NOMEM : ERR_OK;
}

/* What is left to read; sticky. */
struct text {
	struct span left;
	bool bad;
};

static bool take(struct text *t, const char *word)
{
	size_t n = strlen(word);
	if (t->bad || t->left.n < n || memcmp(t->left.p, word, n) != 0) {
		return false;
	}
	t->left.p += n;
	t->left.n -= n;
	return true;
}

static void expect(struct text *t, const char *word)
{
	t->bad = !take(t, word) || t->bad;
}

/* Decimal, without leading zeros. */
static uint64_t take_number(struct text *t)
{
	uint64_t v = 0;
	size_t n = 0;
	while (n < t->left.n && t->left.p[n] >= '0' && t->left.p[n] <= '9') {
		uint64_t digit = (uint64_t)(t->left.p[n] - '0');
		if (v > (UINT64_MAX - digit) / 10 || (n > 0 && v == 0)) {
			t->bad = true;
			return 0;
		}
		v = v * 10 + digit;
		n++;
	}
	t->bad = t->bad || n == 0;
	t->left.p += n;
	t->left.n -= n;
	return v;
}

static uint64_t take_field(struct text *t, const char *name)
{
	expect(t, name);
	uint64_t v = take_number(t);
	expect(t, "\n");
	return v;
}

static uint8_t take_hex_digit(struct text *t)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = t->left.n > 0 ? memchr(digits, t->left.p[0], 16) : NULL;
	if (at == NULL) {
		t->bad = true;
		return 0;
	}
	t->left.p++;
	t->left.n--;
	return (uint8_t)(at - digits);
}

static void take_uuid(struct text *t, uint8_t out[16])
{
	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) {
			expect(t, "-");
		}
		uint8_t high = take_hex_digit(t);
		out[i] = (uint8_t)(high << 4 | take_hex_digit(t));
	}
}

/* Ranges rise and do not touch; ERR_NOMEM only. */
static enum err take_ranges(struct text *t, const char *name, struct manifest_ranges *r)
{
	while (take(t, name)) {
		struct manifest_range x = {.first = take_number(t)};
		expect(t, "-");
		x.last = take_number(t);
		expect(t, "\n");
		uint64_t least = r->n > 0 ? r->v[r->n - 1].last + 2 : 1;
		if (t->bad || x.first < least || x.last < x.first || x.last >= UINT64_MAX - 2) {
			t->bad = true;
			return ERR_OK;
		}
		if (!mem_grow((void **)&r->v, &r->cap, r->n + 1, sizeof *r->v)) {
			return ERR_NOMEM;
		}
		r->v[r->n++] = x;
	}
	return ERR_OK;
}

static bool is_sound(const struct manifest *m)
{
	const struct manifest_ranges *log = &m->log;
	const struct manifest_ranges *cleaned = &m->cleaned;
	return m->generation > 0 && m->base > 0 && m->base < UINT64_MAX - 1 &&
	       m->next_cleaned > 0 && (log->n == 0 || log->v[log->n - 1].last < m->base) &&
	       (cleaned->n == 0 || cleaned->v[cleaned->n - 1].last < m->next_cleaned);
}

/* The last line: the checksum of all before it. */
static bool crc_is_right(struct span text)
{
	enum { LAST_LINE = 4 + CRC_DIGITS + 1 };
	char line[LAST_LINE + 1];
	if (text.n < LAST_LINE) {
		return false;
	}
	size_t n = text.n - LAST_LINE;
	snprintf(line, sizeof line, "crc=%08x\n", crc32c(0, text.p, n));
	return memcmp(text.p + n, line, LAST_LINE) == 0;
}

enum err manifest_parse(struct span text, struct manifest *out, struct err_detail *d)
{
	*out = (struct manifest){0};
	struct text t = {.left = text};
	if (!crc_is_right(text) || !take(&t, "sluice-manifest ")) {
		return err_set(d, ERR_CORRUPT, "damaged: the checksum is wrong");
	}
	uint64_t version = take_number(&t);
	if (!t.bad && version > MANIFEST_VERSION) {
		return err_set(d, ERR_VERSION, "of a later format");
	}
	expect(&t, "\nstore=");
	take_uuid(&t, out->store_uuid);
	expect(&t, "\n");
	out->generation = take_field(&t, "generation=");
	out->next_cleaned = take_field(&t, "next-cleaned=");
	out->base = take_field(&t, "base=");
	uint64_t complete = take_field(&t, "complete=");
	out->is_complete = complete == 1;
	enum err e = take_ranges(&t, "log=", &out->log);
	if (e == ERR_OK) {
		e = take_ranges(&t, "cleaned=", &out->cleaned);
	}
	if (e == ERR_OK) {
		expect(&t, "crc=");
		if (t.bad || t.left.n != CRC_DIGITS + 1 || version != MANIFEST_VERSION || complete > 1 || !is_sound(out)) {
			e = ERR_CORRUPT;
		}
	}
	if (e != ERR_OK) {
		manifest_fini(out);
		return err_set(d, e, "%s", e == ERR_CORRUPT ? "damaged" : err_text(e));
	}
	return ERR_OK;
}

/* ---- files ----------------------------------------------------------------- */

static enum err path_of(const char *dir, const char *name, const char *suffix,
			char out[LIMIT_PATH], struct err_detail *d)
{
	if (snprintf(out, LIMIT_PATH, "%s/%s%s", dir, name, suffix) >= LIMIT_PATH) {
		return err_set(d, ERR_TOO_LARGE, "%s/%s: path too long", dir, name);
	}
	return ERR_OK;
}

static enum err read_text(const char *path, uint8_t **out, size_t *n, struct err_detail *d)
{
	*out = NULL;
	*n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return err_set(d, file_errno(errno), "%s: %s", path, strerror(errno));
	}
	struct stat st;
	enum err e = fstat(fd, &st) == 0 ? ERR_OK : file_errno(errno);
	if (e == ERR_OK && (!S_ISREG(st.st_mode) || st.st_size > MANIFEST_MAX)) {
		e = ERR_CORRUPT;
	}
	if (e == ERR_OK) {
		*n = (size_t)st.st_size;
		*out = mem_alloc(*n + 1);
		e = *out != NULL ? file_read_at(fd, *out, *n, 0) : ERR_NOMEM;
	}
	close(fd);
	if (e != ERR_OK) {
		mem_free(*out);
		*out = NULL;
		return err_set(d, e, "%s: %s", path, err_text(e));
	}
	return ERR_OK;
}

static enum err read_one(const char *path, struct manifest *out, struct err_detail *d)
{
	*out = (struct manifest){0};
	uint8_t *text;
	size_t n = 0;
	enum err e = read_text(path, &text, &n, d);
	if (e != ERR_OK) {
		return e;
	}
	e = manifest_parse(span_of(text, n), out, d);
	mem_free(text);
	if (e != ERR_OK) {
		err_wrap(d, "%s", path);
	}
	return e;
}

/* Of two sound ones the later counts. */
static void choose(struct manifest both[COPIES], struct manifest *out, bool *is_whole)
{
	size_t later = both[1].generation > both[0].generation ? 1 : 0;
	*is_whole = both[0].generation == both[1].generation;
	*out = both[later];
	both[later] = (struct manifest){0};
}

enum err manifest_read(const char *volume_dir, struct manifest *out, bool *is_whole,
		       struct err_detail *d)
{
	struct manifest both[COPIES] = {0};
	struct err_detail own[COPIES] = {0};
	enum err e[COPIES] = {ERR_OK, ERR_OK};
	*out = (struct manifest){0};
	*is_whole = false;
	enum err failed = ERR_OK;
	for (size_t i = 0; i < COPIES && failed == ERR_OK; i++) {
		char path[LIMIT_PATH];
		failed = path_of(volume_dir, names[i], "", path, &own[i]);
		if (failed == ERR_OK) {
			e[i] = read_one(path, &both[i], &own[i]);
		}
		if (e[i] != ERR_OK && e[i] != ERR_CORRUPT && e[i] != ERR_NOT_FOUND) {
			failed = e[i];
		}
		if (failed != ERR_OK) {
			err_set(d, failed, "%s", own[i].text);
		}
	}
	if (failed == ERR_OK && e[0] != ERR_OK && e[1] != ERR_OK) {
		size_t worse = e[0] == ERR_CORRUPT ? 0 : 1;
		failed = err_set(d, e[worse], "%s", own[worse].text);
	}
	if (failed == ERR_OK) {
		choose(both, out, is_whole);
	}
	manifest_fini(&both[0]);
	manifest_fini(&both[1]);
	return failed;
}

/* Under the temporary name, synced. */
static enum err write_tmp(const char *dir, const char *name, const struct str *text,
			  struct err_detail *d)
{
	char tmp[LIMIT_PATH];
	enum err e = path_of(dir, name, ".tmp", tmp, d);
	if (e != ERR_OK) {
		return e;
	}
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		e = file_errno(errno);
		return err_set(d, e == ERR_NOT_FOUND ? ERR_IO : e, "%s: %s", tmp, strerror(errno));
	}
	e = file_write_all(fd, text->p, text->len);
	if (e == ERR_OK && fsync(fd) != 0) {
		e = file_errno(errno);
	}
	close(fd);
	return e == ERR_OK ? ERR_OK
			   : err_set(d, e, "%s: cannot be written: %s", tmp, err_text(e));
}

/* From here on there is no way back: whatever fails is ERR_IO. */
static enum err publish(const char *dir, const char *name, struct err_detail *d)
{
	char path[LIMIT_PATH];
	char tmp[LIMIT_PATH];
	if (path_of(dir, name, "", path, d) != ERR_OK ||
	    path_of(dir, name, ".tmp", tmp, d) != ERR_OK) {
		return ERR_IO;
	}
	if (rename(tmp, path) != 0) {
		return err_set(d, ERR_IO, "%s: %s", path, strerror(errno));
	}
	return file_sync_dir(dir, d) == ERR_OK ? ERR_OK : ERR_IO;
}

void manifest_clear_tmp(const char *volume_dir)
{
	for (size_t i = 0; i < COPIES; i++) {
		char tmp[LIMIT_PATH];
		if (path_of(volume_dir, names[i], ".tmp", tmp, NULL) == ERR_OK) {
			unlink(tmp);
		}
	}
}

enum err manifest_write(const char *volume_dir, const struct manifest *m, struct err_detail *d)
{
	struct str text = {.max = MANIFEST_MAX};
	enum err e = manifest_print(m, &text);
	if (e != ERR_OK) {
		str_fini(&text);
		return err_set(d, e, "%s/%s: out of memory", volume_dir, names[0]);
	}
	for (size_t i = 0; e == ERR_OK && i < COPIES; i++) {
		e = write_tmp(volume_dir, names[i], &text, d);
	}
	str_fini(&text);
	if (e != ERR_OK) {
		manifest_clear_tmp(volume_dir);
		return e;
	}
	for (size_t i = 0; e == ERR_OK && i < COPIES; i++) {
		e = publish(volume_dir, names[i], d);
	}
	return e;
}
