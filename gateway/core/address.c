/* Addresses of every SDK, resolved against the catalogue. */

#include <stdio.h>
#include <string.h>

#include "auth/sas.h"
#include "gateway/core/core.h"
#include "gateway/core/core_priv.h"

enum { ADDRESS_MAX = 2048 };

/* Drops "scheme://authority" and leading slashes. */
static struct span drop_authority(struct span in)
{
	for (size_t i = 0; i + 3 <= in.n; i++) {
		if (memcmp(in.p + i, "://", 3) == 0) {
			in = span_of(in.p + i + 3, in.n - i - 3);
			const uint8_t *slash = in.n != 0 ? memchr(in.p, '/', in.n) : NULL;
			size_t cut = slash != NULL ? (size_t)(slash - in.p) : in.n;
			in = span_of(in.p + cut, in.n - cut);
			break;
		}
		if (in.p[i] == '/') {
			break;
		}
	}
	while (in.n > 0 && in.p[0] == '/') {
		in.p++;
		in.n--;
	}
	while (in.n > 0 && in.p[in.n - 1] == '/') {
		in.n--;
	}
	return in;
}

/* Cuts the part before the first '/' off `s`. */
static struct span next_segment(struct span *s)
{
	const uint8_t *slash = s->n != 0 ? memchr(s->p, '/', s->n) : NULL;
	size_t n = slash != NULL ? (size_t)(slash - s->p) : s->n;
	struct span seg = span_of(s->p, n);
	size_t used = slash != NULL ? n + 1 : n;
	*s = span_of(s->p + used, s->n - used);
	return seg;
}

static enum err not_found(const struct core *c, const char *path, struct err_detail *d)
{
	return err_set(d, ERR_NOT_FOUND, "The messaging entity 'sb://%s/%.300s' could not be found.",
		       c->host, path);
}

static enum err parse_partition(struct span text, const struct catalog_hub *hub,
				struct core_address *out, struct err_detail *d)
{
	uint64_t v = 0;
	bool ok = text.n > 0 && text.n <= 9;
	for (size_t i = 0; ok && i < text.n; i++) {
		ok = text.p[i] >= '0' && text.p[i] <= '9';
		v = v * 10 + (uint64_t)(text.p[i] - '0');
	}
	if (!ok || v >= hub->partitions) {
		return err_set(d, ERR_RANGE,
			       "The specified partition is invalid for an EventHub partition sender "
			       "or receiver. It should be between 0 and %u.",
			       hub->partitions - 1);
	}
	out->partition = (uint32_t)v;
	return ERR_OK;
}

/* What follows the hub's name. */
static enum err parse_rest(const struct core *c, struct span rest, const struct catalog_hub *hub,
			   struct core_address *out, struct err_detail *d)
{
	if (rest.n == 0) {
		out->kind = CORE_HUB;
		return ERR_OK;
	}
	struct span word = next_segment(&rest);
	if (span_ieq_str(word, "$management") && rest.n == 0) {
		out->kind = CORE_MANAGEMENT;
		return ERR_OK;
	}
	if (span_ieq_str(word, "partitions")) {
		out->kind = CORE_PARTITION;
		return parse_partition(rest, hub, out, d);
	}
	if (span_ieq_str(word, "publishers") || span_ieq_str(word, "publisher")) {
		out->kind = CORE_PUBLISHER;
		if (rest.n == 0 || span_to_cstr(rest, out->publisher, sizeof out->publisher) != ERR_OK) {
			return err_set(d, ERR_INVALID, "The publisher name is empty or too long.");
		}
		return ERR_OK;
	}
	if (span_ieq_str(word, "consumergroups")) {
		struct span group = next_segment(&rest);
		if (!catalog_group_exists(hub, group) ||
		    span_to_cstr(group, out->group, sizeof out->group) != ERR_OK) {
			return not_found(c, out->path, d);
		}
		word = next_segment(&rest);
		if (!span_ieq_str(word, "partitions")) {
			return err_set(d, ERR_INVALID,
				       "A consumer reads a partition: <hub>/ConsumerGroups/<group>/"
				       "Partitions/<id>.");
		}
		out->kind = CORE_READER;
		return parse_partition(rest, hub, out, d);
	}
	return not_found(c, out->path, d);
}

static enum err resolve_decoded(struct core *c, struct span path, struct core_address *out,
				struct err_detail *d)
{
	if (span_ieq_str(path, "$cbs")) {
		out->kind = CORE_CBS;
		return ERR_OK;
	}
	if (span_ieq_str(path, "$management")) {
		out->kind = CORE_MANAGEMENT;
		return ERR_OK;
	}
	const struct catalog *cat = core_catalog(c);
	struct span rest;
	const struct catalog_hub *hub = catalog_hub_of_path(cat, path, &rest);
	enum err e;
	if (hub == NULL) {
		e = not_found(c, out->path, d);
	} else {
		out->hub_id = hub->id;
		out->partitions = hub->partitions;
		snprintf(out->hub, sizeof out->hub, "%s", hub->name);
		e = parse_rest(c, rest, hub, out, d);
	}
	catalog_drop(&cat);
	return e;
}

enum err core_resolve(struct core *c, struct span address, struct core_address *out,
		      struct err_detail *d)
{
	*out = (struct core_address){0};
	if (address.n > ADDRESS_MAX) {
		return err_set(d, ERR_INVALID, "The address is longer than %d bytes.", ADDRESS_MAX);
	}
	if (auth_path_normalise(address, out->path) != ERR_OK) {
		return err_set(d, ERR_INVALID, "The address is not a valid path.");
	}
	struct str decoded = {.max = ADDRESS_MAX + 1};
	enum err e = auth_percent_decode(drop_authority(address), false, &decoded);
	if (e != ERR_OK || decoded.bad) {
		e = decoded.bad ? ERR_NOMEM
				: err_set(d, ERR_INVALID, "The address has a bad percent escape.");
	} else {
		e = resolve_decoded(c, span_of(decoded.p, decoded.len), out, d);
	}
	str_fini(&decoded);
	return e;
}
