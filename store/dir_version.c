#include "store/dir_version.h"

#include <stdio.h>

#include "base/crypto.h"
#include "base/limits.h"

enum { VOLUMES_SINCE = 3 };	/* older formats have one volume and do not say so */

void store_version_print(const struct store_dir *dir, char out[STORE_VERSION_TEXT_MAX])
{
	char cluster[CRYPTO_UUID_TEXT];
	char store[CRYPTO_UUID_TEXT];
	crypto_uuid_text(dir->cluster_uuid, cluster);
	crypto_uuid_text(dir->store_uuid, store);
	snprintf(out, STORE_VERSION_TEXT_MAX,
		 "sluice-data %d\ncluster=%s\nnode=%llu\nstore=%s\nshards=%u\nvolumes=%u\nvolume=%u\n",
		 STORE_DIR_VERSION, cluster, (unsigned long long)dir->node_id, store, dir->shards,
		 dir->volumes, dir->ordinal);
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_uuid(struct span s, uint8_t out[16])
{
	if (s.n != CRYPTO_UUID_TEXT - 1) {
		return false;
	}
	size_t digits = 0;
	for (size_t i = 0; i < s.n; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		int v = hex_value(s.p[i]);
		if (is_dash ? s.p[i] != '-' : v < 0) {
			return false;
		}
		if (!is_dash) {
			out[digits / 2] = (uint8_t)(digits % 2 == 0 ? v << 4 : out[digits / 2] | v);
			digits++;
		}
	}
	return true;
}

static bool parse_number(struct span s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || v > (max - (uint64_t)(s.p[i] - '0')) / 10) {
			return false;
		}
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*out = v;
	return s.n > 0;
}

/* Takes "prefix<value>\n" off the front; n = 0: it is not there. */
static struct span take_line(struct span *text, const char *prefix)
{
	size_t n = strlen(prefix);
	const uint8_t *end = text->n > 0 ? memchr(text->p, '\n', text->n) : NULL;
	if (end == NULL || (size_t)(end - text->p) < n || memcmp(text->p, prefix, n) != 0) {
		return span_of(NULL, 0);
	}
	struct span value = span_of(text->p + n, (size_t)(end - text->p) - n);
	size_t taken = (size_t)(end - text->p) + 1;
	*text = span_of(text->p + taken, text->n - taken);
	return value;
}

enum err store_version_parse(struct span text, struct store_dir *dir, struct err_detail *d)
{
	uint64_t version;
	if (!parse_number(take_line(&text, "sluice-data "), UINT32_MAX, &version) || version == 0) {
		return err_set(d, ERR_CORRUPT, "it does not begin with \"sluice-data\" and a format number");
	}
	if (version > STORE_DIR_VERSION) {
		return err_set(d, ERR_VERSION,
			       "its format is %llu, newer than this program, which knows %d",
			       (unsigned long long)version, STORE_DIR_VERSION);
	}
	uint64_t shards;
	uint64_t volumes = 1;
	uint64_t ordinal = 0;
	if (!parse_uuid(take_line(&text, "cluster="), dir->cluster_uuid) ||
	    !parse_number(take_line(&text, "node="), UINT64_MAX, &dir->node_id) ||
	    !parse_uuid(take_line(&text, "store="), dir->store_uuid) ||
	    !parse_number(take_line(&text, "shards="), LIMIT_SHARDS, &shards) || shards == 0 ||
	    dir->node_id == 0) {
		return err_set(d, ERR_CORRUPT, "its lines are not as they should be");
	}
	if (version >= VOLUMES_SINCE &&
	    (!parse_number(take_line(&text, "volumes="), LIMIT_VOLUMES, &volumes) ||
	     !parse_number(take_line(&text, "volume="), LIMIT_VOLUMES, &ordinal))) {
		return err_set(d, ERR_CORRUPT, "its lines are not as they should be");
	}
	if (text.n != 0 || volumes == 0 || ordinal >= volumes) {
		return err_set(d, ERR_CORRUPT, "its lines are not as they should be");
	}
	dir->shards = (uint32_t)shards;
	dir->volumes = (uint32_t)volumes;
	dir->ordinal = (uint32_t)ordinal;
	dir->version = (uint32_t)version;
	return ERR_OK;
}
