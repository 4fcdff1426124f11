#include "store/backup_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"

void backup_set_fini(struct backup_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		mem_free(s->v[i].path);
		mem_free(s->v[i].source);
	}
	mem_free(s->v);
	*s = (struct backup_set){.n = 0};
}

/* Words of letters, digits and "._-" with '/' between them, none of which begins
 * with a dot: nothing else leads out of a directory. */
static bool is_path(const char *path)
{
	bool is_start = true;
	size_t n = 0;
	for (const char *c = path; *c != '\0'; c++, n++) {
		bool is_word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			       (*c >= '0' && *c <= '9') || *c == '_' || *c == '-';
		if (*c == '/' ? is_start : !is_word && (*c != '.' || is_start)) {
			return false;
		}
		is_start = *c == '/';
	}
	return n > 0 && !is_start && n < BACKUP_PATH;
}

enum err backup_set_add(struct backup_set *s, const struct backup_file *f, struct err_detail *d)
{
	if (!is_path(f->path) || (f->source != NULL && !is_path(f->source)) ||
	    f->volume >= LIMIT_VOLUMES) {
		return err_set(d, ERR_INVALID, "\"%.100s\" is no file of a backup", f->path);
	}
	if (!mem_grow((void **)&s->v, &s->cap, s->n + 1, sizeof *s->v)) {
		return err_set(d, ERR_NOMEM, "no memory for the list of files");
	}
	struct backup_file copy = *f;
	copy.path = mem_strdup(f->path);
	copy.source = f->source != NULL ? mem_strdup(f->source) : NULL;
	if (copy.path == NULL || (f->source != NULL && copy.source == NULL)) {
		mem_free(copy.path);
		mem_free(copy.source);
		return err_set(d, ERR_NOMEM, "no memory for the list of files");
	}
	s->v[s->n++] = copy;
	return ERR_OK;
}

/* ---- words ------------------------------------------------------------------------ */

static bool take_word(struct span *line, char *out, size_t size)
{
	const uint8_t *blank = line->n > 0 ? memchr(line->p, ' ', line->n) : NULL;
	size_t n = blank != NULL ? (size_t)(blank - line->p) : line->n;
	if (n == 0 || span_to_cstr(span_of(line->p, n), out, size) != ERR_OK) {
		return false;
	}
	size_t taken = blank != NULL ? n + 1 : n;
	*line = span_of(line->p + taken, line->n - taken);
	return true;
}

static bool take_number(struct span *line, uint64_t max, uint64_t *out)
{
	char text[24];
	char *end;
	if (!take_word(line, text, sizeof text) || text[0] < '0' || text[0] > '9') {
		return false;
	}
	*out = strtoull(text, &end, 10);
	return *end == '\0' && *out <= max;
}

static bool take_crc(struct span *line, uint32_t *out)
{
	char text[16];
	char *end;
	if (!take_word(line, text, sizeof text) || strlen(text) != 8 ||
	    strspn(text, "0123456789abcdef") != 8) {
		return false;
	}
	*out = (uint32_t)strtoul(text, &end, 16);
	return true;
}

/* Up to the end of the line, which is taken off; false: there is none. */
static bool take_line(struct span *text, struct span *line)
{
	const uint8_t *end = text->n > 0 ? memchr(text->p, '\n', text->n) : NULL;
	if (end == NULL) {
		return false;
	}
	size_t n = (size_t)(end - text->p);
	*line = span_of(text->p, n);
	*text = span_of(text->p + n + 1, text->n - n - 1);
	return true;
}

enum err backup_set_add_lines(struct backup_set *s, struct span lines, struct err_detail *d)
{
	struct span line;
	while (take_line(&lines, &line)) {
		char path[BACKUP_PATH];
		char source[BACKUP_PATH];
		uint64_t volume;
		struct backup_file f = {.path = path, .source = source};
		if (!take_number(&line, LIMIT_VOLUMES - 1, &volume) ||
		    !take_word(&line, path, sizeof path) ||
		    !take_number(&line, INT64_MAX, &f.size) || !take_crc(&line, &f.crc) ||
		    !take_word(&line, source, sizeof source) || line.n != 0) {
			return err_set(d, ERR_INVALID, "the list of files is not as it should be");
		}
		f.volume = (uint32_t)volume;
		enum err e = backup_set_add(s, &f, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

/* ---- the whole ---------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const struct backup_file *x = a;
	const struct backup_file *y = b;
	if (x->volume != y->volume) {
		return x->volume < y->volume ? -1 : 1;
	}
	return strcmp(x->path, y->path);
}

enum err backup_set_complete(struct backup_set *s, struct err_detail *d)
{
	if (s->n > 0) {
		qsort(s->v, s->n, sizeof *s->v, compare);
	}
	for (size_t i = 1; i < s->n; i++) {
		if (compare(&s->v[i - 1], &s->v[i]) == 0) {
			return err_set(d, ERR_INVALID, "the list of files names %s twice", s->v[i].path);
		}
	}
	if (s->volumes == 0 || s->volumes > LIMIT_VOLUMES ||
	    (s->n > 0 && s->v[s->n - 1].volume >= s->volumes)) {
		return err_set(d, ERR_INVALID, "the list of files does not fit its number of volumes");
	}
	for (uint32_t i = 0; i < s->volumes; i++) {
		char version[] = "VERSION";
		const struct backup_file want = {.path = version, .volume = i};
		if (s->n == 0 || bsearch(&want, s->v, s->n, sizeof *s->v, compare) == NULL) {
			return err_set(d, ERR_INVALID, "the list of files lacks VERSION of volume %u", i);
		}
	}
	return ERR_OK;
}

const struct backup_file *backup_set_find(const struct backup_set *s, const struct backup_file *f)
{
	const struct backup_file *at =
		s->n > 0 ? bsearch(f, s->v, s->n, sizeof *s->v, compare) : NULL;
	return at != NULL && at->size == f->size && at->crc == f->crc ? at : NULL;
}

uint64_t backup_set_bytes(const struct backup_set *s)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < s->n; i++) {
		sum += s->v[i].size;
	}
	return sum;
}

void backup_name(const struct backup_file *f, char out[BACKUP_NAME])
{
	snprintf(out, BACKUP_NAME, "%" PRIu32 "/%s.%08" PRIx32, f->volume, f->path, f->crc);
}

/* ---- text and back -------------------------------------------------------------------- */

void backup_set_print(const struct backup_set *s, struct str *out)
{
	str_printf(out, "sluice-backup %d\nmade=%s\nstore=%s\nvolumes=%" PRIu32 "\n", BACKUP_FORMAT,
		   s->made, s->store_uuid, s->volumes);
	for (size_t i = 0; i < s->n; i++) {
		const struct backup_file *f = &s->v[i];
		str_printf(out, "file=%" PRIu32 " %" PRIu64 " %08" PRIx32 " %s\n", f->volume, f->size,
			   f->crc, f->path);
	}
	if (!out->bad) {
		str_printf(out, "crc=%08" PRIx32 "\n", crc32c(0, out->p, out->len));
	}
}

/* "name=value": the value. */
static bool take_field(struct span *text, const char *name, struct span *value)
{
	struct span line;
	size_t n = strlen(name);
	if (!take_line(text, &line) || line.n < n || memcmp(line.p, name, n) != 0) {
		return false;
	}
	*value = span_of(line.p + n, line.n - n);
	return true;
}

static enum err parse_file(struct backup_set *out, struct span value, struct err_detail *d)
{
	char path[BACKUP_PATH];
	uint64_t volume;
	struct backup_file f = {.path = path};
	if (!take_number(&value, LIMIT_VOLUMES - 1, &volume) ||
	    !take_number(&value, INT64_MAX, &f.size) || !take_crc(&value, &f.crc) ||
	    !take_word(&value, path, sizeof path) || value.n != 0) {
		return err_set(d, ERR_CORRUPT, "a line of it is not as it should be");
	}
	f.volume = (uint32_t)volume;
	enum err e = backup_set_add(out, &f, d);
	return e == ERR_INVALID ? ERR_CORRUPT : e;
}

static enum err parse_head(struct span *text, struct backup_set *out, struct err_detail *d)
{
	struct span value;
	uint64_t n;
	if (!take_field(text, "sluice-backup ", &value) || !take_number(&value, UINT32_MAX, &n) ||
	    value.n != 0 || n == 0) {
		return err_set(d, ERR_CORRUPT, "it does not begin with \"sluice-backup\" and a format number");
	}
	if (n > BACKUP_FORMAT) {
		return err_set(d, ERR_VERSION,
			       "its format is %" PRIu64 ", newer than this program, which knows %d", n,
			       BACKUP_FORMAT);
	}
	if (!take_field(text, "made=", &value) ||
	    span_to_cstr(value, out->made, sizeof out->made) != ERR_OK ||
	    !take_field(text, "store=", &value) ||
	    span_to_cstr(value, out->store_uuid, sizeof out->store_uuid) != ERR_OK ||
	    !take_field(text, "volumes=", &value) || !take_number(&value, LIMIT_VOLUMES, &n) ||
	    value.n != 0) {
		return err_set(d, ERR_CORRUPT, "its first lines are not as they should be");
	}
	out->volumes = (uint32_t)n;
	return ERR_OK;
}

enum err backup_set_parse(struct span text, struct backup_set *out, struct err_detail *d)
{
	static const char last[] = "crc=01234567\n";
	const size_t n_last = sizeof last - 1;
	*out = (struct backup_set){.n = 0};
	struct span body = text;
	enum err e = parse_head(&body, out, d);
	if (e != ERR_OK) {
		return e;
	}
	struct span tail = text.n > n_last ? span_of(text.p + text.n - n_last, n_last) : text;
	struct span value;
	uint32_t crc;
	if (body.n < n_last || !take_field(&tail, "crc=", &value) || !take_crc(&value, &crc) ||
	    crc != crc32c(0, text.p, text.n - n_last)) {
		return err_set(d, ERR_CORRUPT, "its checksum is wrong");
	}
	body.n -= n_last;
	while (body.n > 0 && e == ERR_OK) {
		e = take_field(&body, "file=", &value)
			    ? parse_file(out, value, d)
			    : err_set(d, ERR_CORRUPT, "a line of it is not as it should be");
	}
	if (e == ERR_OK) {
		e = backup_set_complete(out, d);
		e = e == ERR_INVALID ? ERR_CORRUPT : e;
	}
	if (e != ERR_OK) {
		backup_set_fini(out);
	}
	return e;
}
