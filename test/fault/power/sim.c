#include "test/fault/power/sim.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/fault/power/oplog.h"

enum {
	NAME_MAX_HERE = 256,
	HIDDEN_MIN = 64 << 10,	/* contents from this size on are hidden from children */
};
static bool is_hidden;

struct file_op {
	uint64_t at;
	uint64_t sync;		/* of a write that syncs itself; 0: none, or it has ended */
	uint64_t offset;	/* truncation: the size */
	const uint8_t *data;
	uint32_t len;
	bool is_truncation;
	bool is_extension;	/* the size is at least `offset` */
	bool is_durable;
};

struct entry {
	char name[NAME_MAX_HERE];
	uint32_t inode;
};
struct entries {
	struct entry *v;
	size_t n;
	size_t cap;
};

/* Sets a name, takes one away, or both. */
struct name_op {
	uint64_t at;
	uint32_t inode;
	char set[NAME_MAX_HERE];
	char clear[NAME_MAX_HERE];
};

struct sim_inode {
	uint32_t number;
	bool is_dir;
	uint64_t version;	/* rises with what is on the disk */
	/* files */
	uint8_t *base;
	size_t size;
	size_t cap;
	struct file_op *ops;
	size_t n_ops;
	size_t cap_ops;
	/* directories */
	struct entries live;
	struct entries disk;
	struct name_op *names;
	size_t n_names;
	size_t cap_names;
};

struct handle {
	uint64_t handle;
	uint32_t inode;
};
struct sync {
	uint64_t number;
	uint64_t begun;
	uint32_t inode;
	bool is_write;
};

struct sim {
	struct sim_inode **inodes;	/* the first: the root */
	size_t n;
	size_t cap;
	struct handle *handles;		/* rising */
	size_t n_handles;
	size_t cap_handles;
	struct sync *syncs;
	size_t n_syncs;
	size_t cap_syncs;
};

/* ---- helpers ----------------------------------------------------------------------- */

static void wrong(const char *what, uint64_t at)
{
	fprintf(stderr, "the operation log contradicts itself at %llu: %s\n",
		(unsigned long long)at, what);
	exit(2);
}

static void *grown(void *v, size_t *cap, size_t n, size_t size)
{
	if (n <= *cap) {
		return v;
	}
	*cap = n * 2 > 16 ? n * 2 : 16;
	v = realloc(v, *cap * size);
	if (v == NULL) {
		abort();
	}
	return v;
}
#define GROW(v, cap, n) ((v) = grown((v), &(cap), (n), sizeof *(v)))

uint64_t sim_mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + b + UINT64_C(0x7f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* ---- contents ---------------------------------------------------------------------- */

void sim_hide(void)
{
	is_hidden = true;
}

static void blob_free(uint8_t *p, size_t cap)
{
	if (is_hidden && cap >= HIDDEN_MIN) {
		munmap(p, cap);
	} else {
		free(p);
	}
}

static void blob_grow(uint8_t **p, size_t size, size_t *cap, size_t want)
{
	size_t new_cap = want * 2 > HIDDEN_MIN / 8 ? want * 2 : HIDDEN_MIN / 8;
	uint8_t *q;
	if (is_hidden && new_cap >= HIDDEN_MIN) {
		q = mmap(NULL, new_cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (q == MAP_FAILED || madvise(q, new_cap, MADV_DONTFORK) != 0) {
			abort();
		}
	} else {
		q = malloc(new_cap);
		if (q == NULL) {
			abort();
		}
	}
	if (size > 0) {
		memcpy(q, *p, size);
	}
	blob_free(*p, *cap);
	*p = q;
	*cap = new_cap;
}

/* Cut, or filled up with zeros. */
static void blob_size(uint8_t **p, size_t *size, size_t *cap, size_t want)
{
	if (want > *cap) {
		blob_grow(p, *size, cap, want);
	}
	if (want > *size) {
		memset(*p + *size, 0, want - *size);
	}
	*size = want;
}

static struct sim_inode *inode_new(struct sim *s, bool is_dir)
{
	struct sim_inode *i = calloc(1, sizeof *i);
	if (i == NULL) {
		abort();
	}
	GROW(s->inodes, s->cap, s->n + 1);
	i->number = (uint32_t)s->n;
	i->is_dir = is_dir;
	s->inodes[s->n++] = i;
	return i;
}

struct sim *sim_new(void)
{
	struct sim *s = calloc(1, sizeof *s);
	if (s == NULL) {
		abort();
	}
	inode_new(s, true);
	return s;
}

void sim_free(struct sim **sp)
{
	struct sim *s = *sp;
	*sp = NULL;
	for (size_t i = 0; i < s->n; i++) {
		struct sim_inode *d = s->inodes[i];
		blob_free(d->base, d->cap);
		free(d->ops);
		free(d->live.v);
		free(d->disk.v);
		free(d->names);
		free(d);
	}
	free(s->inodes);
	free(s->handles);
	free(s->syncs);
	free(s);
}

static struct entry *entry_find(const struct entries *e, const char *name)
{
	for (size_t i = 0; i < e->n; i++) {
		if (strcmp(e->v[i].name, name) == 0) {
			return &e->v[i];
		}
	}
	return NULL;
}

static void entry_set(struct entries *e, const char *name, uint32_t inode)
{
	struct entry *there = entry_find(e, name);
	if (there == NULL) {
		GROW(e->v, e->cap, e->n + 1);
		there = &e->v[e->n++];
		snprintf(there->name, sizeof there->name, "%s", name);
	}
	there->inode = inode;
}

static void entry_clear(struct entries *e, const char *name, uint32_t inode)
{
	struct entry *there = entry_find(e, name);
	if (there != NULL && there->inode == inode) {
		*there = e->v[--e->n];
	}
}

static void name_apply(struct entries *e, const struct name_op *op)
{
	if (op->clear[0] != '\0') {
		entry_clear(e, op->clear, op->inode);
	}
	if (op->set[0] != '\0') {
		entry_set(e, op->set, op->inode);
	}
}

/* ---- names ------------------------------------------------------------------------- */

/* The directory of a path and, in `name`, its last part. */
static struct sim_inode *parent_of(const struct sim *s, const char *path, char name[NAME_MAX_HERE],
				   uint64_t at)
{
	struct sim_inode *dir = s->inodes[0];
	for (;;) {
		const char *slash = strchr(path, '/');
		size_t n = slash != NULL ? (size_t)(slash - path) : strlen(path);
		snprintf(name, NAME_MAX_HERE, "%.*s", (int)n, path);
		if (slash == NULL) {
			return dir;
		}
		const struct entry *e = entry_find(&dir->live, name);
		if (e == NULL) {
			wrong(path, at);
		} else {
			dir = s->inodes[e->inode];
		}
		path = slash + 1;
	}
}

static struct sim_inode *lookup(const struct sim *s, const char *path, uint64_t at)
{
	char name[NAME_MAX_HERE];
	struct sim_inode *dir = parent_of(s, path, name, at);
	const struct entry *e = name[0] != '\0' ? entry_find(&dir->live, name) : NULL;
	if (name[0] == '\0') {
		return dir;
	}
	return e != NULL ? s->inodes[e->inode] : NULL;
}

static void add_name(struct sim_inode *dir, uint64_t at, uint32_t inode, const char *set,
		     const char *clear)
{
	GROW(dir->names, dir->cap_names, dir->n_names + 1);
	struct name_op *op = &dir->names[dir->n_names++];
	*op = (struct name_op){.at = at, .inode = inode};
	snprintf(op->set, sizeof op->set, "%s", set);
	snprintf(op->clear, sizeof op->clear, "%s", clear);
	name_apply(&dir->live, op);
}

static void on_name(struct sim *s, const struct oplog_head *h, const char *path, const char *path2,
		    uint64_t at)
{
	char name[NAME_MAX_HERE];
	char name2[NAME_MAX_HERE];
	struct sim_inode *dir = parent_of(s, path, name, at);
	struct sim_inode *i = lookup(s, path, at);
	if (h->kind == OPLOG_MKDIR) {
		add_name(dir, at, inode_new(s, true)->number, name, "");
		return;
	}
	if (i == NULL) {
		wrong(path, at);
		return;
	}
	if (h->kind == OPLOG_UNLINK || h->kind == OPLOG_RMDIR) {
		add_name(dir, at, i->number, "", name);
		return;
	}
	struct sim_inode *dir2 = parent_of(s, path2, name2, at);
	if (h->kind == OPLOG_LINK || dir2 != dir) {
		/* Between directories: both have the same place, so the same fate. */
		add_name(dir2, at, i->number, name2, "");
	}
	if (h->kind == OPLOG_RENAME) {
		add_name(dir, at, i->number, dir2 == dir ? name2 : "", name);
	}
}

/* ---- files ------------------------------------------------------------------------- */

static void fold_one(struct sim_inode *i, const struct file_op *op)
{
	size_t end = op->offset + op->len;
	if (op->is_truncation || end > i->size) {
		blob_size(&i->base, &i->size, &i->cap, end);
	}
	if (op->len > 0) {
		memcpy(i->base + op->offset, op->data, op->len);
	}
}

/* What is on the disk and has nothing pending before it becomes the base. */
static void fold(struct sim_inode *i)
{
	size_t n = 0;
	while (n < i->n_ops && i->ops[n].is_durable) {
		fold_one(i, &i->ops[n++]);
	}
	i->n_ops -= n;
	memmove(i->ops, i->ops + n, i->n_ops * sizeof *i->ops);
	i->version++;
}

static void add_op(struct sim_inode *i, struct file_op op)
{
	GROW(i->ops, i->cap_ops, i->n_ops + 1);
	i->ops[i->n_ops++] = op;
}

static struct sim_inode *of_handle(const struct sim *s, uint64_t handle, uint64_t at)
{
	size_t low = 0;
	size_t high = s->n_handles;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (s->handles[mid].handle < handle) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	if (low == s->n_handles || s->handles[low].handle != handle) {
		wrong("unknown handle", at);
	}
	return s->inodes[s->handles[low].inode];
}

static void on_open(struct sim *s, const struct oplog_head *h, const char *path, uint64_t at)
{
	struct sim_inode *i = lookup(s, path, at);
	if (i == NULL) {
		char name[NAME_MAX_HERE];
		struct sim_inode *dir = parent_of(s, path, name, at);
		if ((h->a & O_CREAT) == 0) {
			wrong(path, at);
		}
		i = inode_new(s, false);
		add_name(dir, at, i->number, name, "");
	} else if ((h->a & O_TRUNC) != 0) {
		add_op(i, (struct file_op){.at = at, .is_truncation = true});
	}
	GROW(s->handles, s->cap_handles, s->n_handles + 1);
	s->handles[s->n_handles++] = (struct handle){h->handle, i->number};
}

static void on_sync_begin(struct sim *s, const struct oplog_head *h, uint32_t inode, uint64_t at,
			  bool is_write)
{
	GROW(s->syncs, s->cap_syncs, s->n_syncs + 1);
	s->syncs[s->n_syncs++] = (struct sync){h->b, at, inode, is_write};
}

static void sync_dir(struct sim_inode *dir, uint64_t begun)
{
	size_t n = 0;
	while (n < dir->n_names && dir->names[n].at < begun) {
		name_apply(&dir->disk, &dir->names[n++]);
	}
	dir->n_names -= n;
	memmove(dir->names, dir->names + n, dir->n_names * sizeof *dir->names);
	dir->version++;
}

static void on_sync_end(struct sim *s, const struct oplog_head *h)
{
	for (size_t k = 0; k < s->n_syncs; k++) {
		struct sync y = s->syncs[k];
		if (y.number != h->b) {
			continue;
		}
		s->syncs[k] = s->syncs[--s->n_syncs];
		struct sim_inode *i = s->inodes[y.inode];
		if (i->is_dir) {
			sync_dir(i, y.begun);
			return;
		}
		for (size_t j = 0; j < i->n_ops; j++) {
			struct file_op *op = &i->ops[j];
			bool is_own = y.is_write && op->sync == y.number;
			if (is_own || (!y.is_write && op->at < y.begun && op->sync == 0)) {
				op->is_durable = true;
				op->sync = is_own ? 0 : op->sync;
			}
		}
		fold(i);
		return;
	}
	/* Begun by a process that has ended meanwhile. */
}

static void on_size(struct sim_inode *i, const struct oplog_head *h, uint64_t at)
{
	add_op(i, (struct file_op){.at = at,
				   .offset = h->a,
				   .is_truncation = h->kind == OPLOG_TRUNCATE,
				   .is_extension = h->kind == OPLOG_ALLOCATE});
}

void sim_apply(struct sim *s, const uint8_t *record, uint64_t at)
{
	struct oplog_head h;
	memcpy(&h, record, sizeof h);
	char path[PATH_MAX];
	char path2[PATH_MAX];
	const char *text = (const char *)record + sizeof h;
	snprintf(path, sizeof path, "%.*s", (int)h.path_len, text);
	snprintf(path2, sizeof path2, "%.*s", (int)h.path2_len, text + h.path_len);
	switch (h.kind) {
	case OPLOG_START:
		/* Its syncs are void; what it was writing stays as any other write. */
		for (size_t i = 0; i < s->n_syncs; i++) {
			struct sim_inode *f = s->inodes[s->syncs[i].inode];
			for (size_t k = 0; k < f->n_ops; k++) {
				f->ops[k].sync = 0;
			}
		}
		s->n_syncs = 0;
		return;
	case OPLOG_OPEN:
		on_open(s, &h, path, at);
		return;
	case OPLOG_WRITE: {
		struct sim_inode *i = of_handle(s, h.handle, at);
		add_op(i, (struct file_op){.at = at,
					   .sync = h.b,
					   .offset = h.a,
					   .data = record + sizeof h,
					   .len = h.data_len});
		if (h.b != 0) {
			on_sync_begin(s, &h, i->number, at, true);
		}
		return;
	}
	case OPLOG_SYNC_BEGIN:
		on_sync_begin(s, &h, of_handle(s, h.handle, at)->number, at, false);
		return;
	case OPLOG_SYNC_END:
		on_sync_end(s, &h);
		return;
	case OPLOG_TRUNCATE:
	case OPLOG_ALLOCATE:
		on_size(of_handle(s, h.handle, at), &h, at);
		return;
	default:
		on_name(s, &h, path, path2, at);
	}
}

/* ---- from a directory -------------------------------------------------------------- */

static void load_file(struct sim_inode *i, int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0) {
		abort();
	}
	blob_size(&i->base, &i->size, &i->cap, (size_t)st.st_size);
	if (st.st_size > 0 && pread(fd, i->base, i->size, 0) != st.st_size) {
		abort();
	}
}

static void load_dir(struct sim *s, struct sim_inode *dir, const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
			continue;
		}
		char below[PATH_MAX];
		snprintf(below, sizeof below, "%s/%s", path, e->d_name);
		int fd = open(below, O_RDONLY | O_CLOEXEC);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) != 0) {
			abort();
		}
		struct sim_inode *i = inode_new(s, S_ISDIR(st.st_mode));
		entry_set(&dir->live, e->d_name, i->number);
		entry_set(&dir->disk, e->d_name, i->number);
		if (i->is_dir) {
			load_dir(s, i, below);
		} else {
			load_file(i, fd);
		}
		close(fd);
	}
	if (d != NULL) {
		closedir(d);
	}
}

void sim_load(struct sim *s, const char *dir)
{
	load_dir(s, s->inodes[0], dir);
}

static void entries_copy(struct entries *to, const struct entries *from)
{
	for (size_t i = 0; i < from->n; i++) {
		entry_set(to, from->v[i].name, from->v[i].inode);
	}
}

struct sim *sim_copy(const struct sim *s)
{
	struct sim *copy = sim_new();
	for (size_t i = 0; i < s->n; i++) {
		const struct sim_inode *from = s->inodes[i];
		struct sim_inode *to = i == 0 ? copy->inodes[0] : inode_new(copy, from->is_dir);
		blob_size(&to->base, &to->size, &to->cap, from->size);
		if (from->size > 0) {
			memcpy(to->base, from->base, from->size);
		}
		entries_copy(&to->live, &from->live);
		entries_copy(&to->disk, &from->disk);
	}
	return copy;
}

/* ---- what a cut leaves --------------------------------------------------------------- */

static bool is_kept(const struct sim_choice *c, enum sim_mode mode, uint64_t at)
{
	switch (mode) {
	case SIM_NONE:
		return false;
	case SIM_PREFIX:
		return at < c->prefix_end;
	case SIM_SOME:
		return sim_mix(c->seed, at) % 2 == 0;
	default:
		return true;
	}
}

static size_t places(const struct sim *s, uint64_t *out)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++) {
		const struct sim_inode *f = s->inodes[i];
		for (size_t k = 0; k < f->n_ops; k++) {
			if (!f->ops[k].is_durable) {
				n++;
				if (out != NULL) {
					out[n - 1] = f->ops[k].at;
				}
			}
		}
		for (size_t k = 0; k < f->n_names; k++) {
			n++;
			if (out != NULL) {
				out[n - 1] = f->names[k].at;
			}
		}
	}
	return n;
}

size_t sim_pending(const struct sim *s)
{
	return places(s, NULL);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

struct sim_choice sim_choose(const struct sim *s, uint64_t seed)
{
	static const struct {
		enum sim_mode files;
		enum sim_mode names;
	} pairs[] = {
		{SIM_NONE, SIM_NONE}, {SIM_ALL, SIM_ALL},   {SIM_PREFIX, SIM_PREFIX},
		{SIM_TORN, SIM_SOME}, {SIM_SOME, SIM_SOME}, {SIM_NONE, SIM_ALL},
		{SIM_ALL, SIM_NONE},  {SIM_TORN, SIM_ALL},  {SIM_SOME, SIM_PREFIX},
		{SIM_PREFIX, SIM_SOME},
	};
	size_t pick = sim_mix(seed, 1) % (sizeof pairs / sizeof pairs[0]);
	struct sim_choice c = {pairs[pick].files, pairs[pick].names, seed, 0};
	size_t n = sim_pending(s);
	if (n > 0) {
		uint64_t *at = malloc(n * sizeof *at);
		if (at == NULL) {
			abort();
		}
		places(s, at);
		qsort(at, n, sizeof *at, by_value);
		c.prefix_end = at[sim_mix(seed, 2) % n];
		free(at);
	}
	return c;
}

void sim_choice_text(const struct sim_choice *c, char *out, size_t n)
{
	static const char *const words[] = {"none", "all", "prefix", "some", "torn"};
	snprintf(out, n, "files=%s,names=%s", words[c->files], words[c->names]);
}

static void keep_write(const struct file_op *op, const struct sim_choice *c, uint8_t **p,
		       size_t *size, size_t *cap)
{
	uint64_t end = op->offset + op->len;
	bool is_torn = !op->is_durable && c->files == SIM_TORN;
	if (!is_torn || sim_mix(c->seed, op->at + 1) % 2 == 0) {
		/* Torn: the file may have its length before it has its content. */
		blob_size(p, size, cap, end > *size ? end : *size);
	}
	uint64_t at = op->offset;
	while (at < end) {
		uint64_t next = is_torn ? (at / SECTOR + 1) * SECTOR : end;
		next = next < end ? next : end;
		if (!is_torn || sim_mix(c->seed ^ op->at, at) % 2 == 0) {
			blob_size(p, size, cap, next > *size ? next : *size);
			memcpy(*p + at, op->data + (at - op->offset), next - at);
		}
		at = next;
	}
}

const uint8_t *sim_content(const struct sim_inode *inode, const struct sim_choice *c, size_t *n)
{
	static uint8_t *p;
	static size_t cap;
	size_t size = 0;
	if (inode->n_ops == 0) {
		*n = inode->size;
		return inode->base;
	}
	blob_size(&p, &size, &cap, inode->size);
	if (inode->size > 0) {
		memcpy(p, inode->base, inode->size);
	}
	for (size_t i = 0; i < inode->n_ops; i++) {
		const struct file_op *op = &inode->ops[i];
		if (!op->is_durable && !is_kept(c, c->files, op->at)) {
			continue;
		}
		if (op->is_truncation) {
			blob_size(&p, &size, &cap, op->offset);
		} else if (op->is_extension) {
			blob_size(&p, &size, &cap, op->offset > size ? op->offset : size);
		} else {
			keep_write(op, c, &p, &size, &cap);
		}
	}
	*n = size;
	return p;
}

struct visit {
	const struct sim *sim;
	const struct sim_choice *choice;
	sim_file_fn *fn;
	void *arg;
};

static void visit_dir(const struct visit *v, const struct sim_inode *dir, const char *path)
{
	struct entries left = {0};
	for (size_t i = 0; i < dir->disk.n; i++) {
		entry_set(&left, dir->disk.v[i].name, dir->disk.v[i].inode);
	}
	for (size_t i = 0; i < dir->n_names; i++) {
		if (is_kept(v->choice, v->choice->names, dir->names[i].at)) {
			name_apply(&left, &dir->names[i]);
		}
	}
	for (size_t i = 0; i < left.n; i++) {
		const struct sim_inode *f = v->sim->inodes[left.v[i].inode];
		char below[PATH_MAX];
		snprintf(below, sizeof below, "%s%s%s", path, path[0] != '\0' ? "/" : "",
			 left.v[i].name);
		uint64_t stamp = sim_mix(sim_mix(f->number, f->version), 0);
		if (f->n_ops > 0) {
			stamp = sim_mix(stamp, sim_mix(v->choice->seed, f->ops[f->n_ops - 1].at));
		}
		v->fn(v->arg, below, f, f->is_dir, stamp);
		if (f->is_dir) {
			visit_dir(v, f, below);
		}
	}
	free(left.v);
}

void sim_files(const struct sim *s, const struct sim_choice *c, sim_file_fn *fn, void *arg)
{
	struct visit v = {s, c, fn, arg};
	visit_dir(&v, s->inodes[0], "");
}
