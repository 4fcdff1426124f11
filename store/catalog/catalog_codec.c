/* A catalogue command as bytes (payload of a VOLUME_CATALOG command):
 *
 *   u8 version 3, u8 operation, u8 flags, then the fields of COMMAND_FIELDS in
 *   order, then u32 number of producer ids, then those of UNITS_FIELDS; numbers are
 *   big-endian, texts have a u16 length before them and no NUL. Version 1 ends before
 *   the producer ids, version 2 after them.
 *
 * A new field comes at the end with the next version; the decoder then gives
 * it its default for older bytes. */

#include "store/catalog/catalog_priv.h"

enum {
	COMMAND_VERSION = 3,
	VERSION_PRODUCER_IDS = 2,	/* the first that has them */
	VERSION_UNITS = 3,		/* the first that has units and limits */
	FLAG_RETENTION = 1,
	FLAG_RETENTION_BYTES = 2,
	FLAG_CLEANUP = 4,
	FLAG_MUST_BE_NEW = 8,
	FLAG_UNITS = 16,
	FLAG_INFLATE_MAX = 32,
	FLAG_DEFLATE_AFTER = 64,
	FLAGS_BEFORE_UNITS = 15,
	FLAGS_ALL = 127,
};

/* kind, field of struct catalog_command */
#define COMMAND_FIELDS(F)          \
	F(I64, now_ms)             \
	F(TEXT, hub)               \
	F(U32, partitions)         \
	F(I64, retention_ms)       \
	F(U64, retention_bytes)    \
	F(ENUM, cleanup)           \
	F(TEXT, group)             \
	F(POLICY, policy)

/* Since version 3. What units.base and units.has_settings become follows from
 * units_by. */
#define UNITS_FIELDS(F)                       \
	F(ENUM, units_by)                     \
	F(U32, units_was)                     \
	F(U32, units.units)                   \
	F(U32, units.inflate_max)             \
	F(I64, units.deflate_after_ms)        \
	F(U32, units.settings_units)          \
	F(U32, units.settings_inflate_max)    \
	F(I64, units.settings_deflate_after_ms) \
	F(LIMIT, limit)

#define PUT_I64(s, f) catalog_put_u64(s, (uint64_t)(f))
#define PUT_U64(s, f) catalog_put_u64(s, f)
#define PUT_U32(s, f) catalog_put_u32(s, f)
#define PUT_ENUM(s, f) catalog_put_u8(s, (uint8_t)(f))
#define PUT_TEXT(s, f) catalog_put_text(s, f)
#define PUT_POLICY(s, f) catalog_put_policy(s, &(f))
#define PUT_LIMIT(s, f) catalog_put_limit(s, &(f))
#define GET_I64(r, f) (f) = (int64_t)rd_u64(r)
#define GET_U64(r, f) (f) = rd_u64(r)
#define GET_U32(r, f) (f) = rd_u32(r)
#define GET_ENUM(r, f) (f) = rd_u8(r)
#define GET_TEXT(r, f) catalog_get_text(r, f, sizeof(f))
#define GET_POLICY(r, f) catalog_get_policy(r, &(f))
#define GET_LIMIT(r, f) catalog_get_limit(r, &(f))

void catalog_get_text(struct rd *r, char *out, size_t out_size)
{
	struct span s = rd_span(r, rd_u16(r));
	if (span_to_cstr(s, out, out_size) != ERR_OK) {
		r->bad = true;
	}
}

void catalog_put_policy(struct str *s, const struct catalog_policy *p)
{
	catalog_put_text(s, p->name);
	catalog_put_u32(s, p->rights);
	catalog_put_text(s, p->primary);
	catalog_put_text(s, p->secondary);
}

void catalog_get_policy(struct rd *r, struct catalog_policy *p)
{
	catalog_get_text(r, p->name, sizeof p->name);
	p->rights = rd_u32(r);
	catalog_get_text(r, p->primary, sizeof p->primary);
	catalog_get_text(r, p->secondary, sizeof p->secondary);
	if ((p->rights & ~(unsigned)CATALOG_RIGHTS_ALL) != 0) {
		r->bad = true;
	}
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static uint8_t flags_of(const struct catalog_command *cmd)
{
	return (uint8_t)((cmd->has_retention ? FLAG_RETENTION : 0) |
			 (cmd->has_retention_bytes ? FLAG_RETENTION_BYTES : 0) |
			 (cmd->has_cleanup ? FLAG_CLEANUP : 0) |
			 (cmd->must_be_new ? FLAG_MUST_BE_NEW : 0) |
			 (cmd->has_units ? FLAG_UNITS : 0) |
			 (cmd->has_inflate_max ? FLAG_INFLATE_MAX : 0) |
			 (cmd->has_deflate_after ? FLAG_DEFLATE_AFTER : 0));
}

enum err catalog_encode(const struct catalog_command *cmd, struct str *out)
{
	const struct catalog_policy *p = &cmd->policy;
	if (!is_text(cmd->hub, sizeof cmd->hub) || !is_text(cmd->group, sizeof cmd->group) ||
	    !is_text(p->name, sizeof p->name) || !is_text(p->primary, sizeof p->primary) ||
	    !is_text(p->secondary, sizeof p->secondary) ||
	    !is_text(cmd->limit.name, sizeof cmd->limit.name)) {
		return ERR_INVALID;
	}
	catalog_put_u8(out, COMMAND_VERSION);
	catalog_put_u8(out, (uint8_t)cmd->op);
	catalog_put_u8(out, flags_of(cmd));
#define FIELD(kind, field) PUT_##kind(out, cmd->field);
	COMMAND_FIELDS(FIELD)
	catalog_put_u32(out, cmd->producer_ids);
	UNITS_FIELDS(FIELD)
#undef FIELD
	return out->bad ? ERR_NOMEM : ERR_OK;
}

/* The last operation a version has. */
static uint8_t last_op(uint8_t version)
{
	return version < VERSION_PRODUCER_IDS ? CATALOG_POLICY_DELETE
	       : version < VERSION_UNITS      ? CATALOG_PRODUCER_IDS
					      : CATALOG_LIMIT_DELETE;
}

static uint8_t flags_known(uint8_t version)
{
	return version < VERSION_UNITS ? FLAGS_BEFORE_UNITS : FLAGS_ALL;
}

enum err catalog_decode(struct span in, struct catalog_command *out)
{
	*out = (struct catalog_command){0};
	struct rd rd = rd_of(in);
	struct rd *r = &rd;
	uint8_t version = rd_u8(r);
	if (version == 0 || version > COMMAND_VERSION) {
		return ERR_DECODE;
	}
	uint8_t op = rd_u8(r);
	uint8_t flags = rd_u8(r);
	if (op < CATALOG_HUB_CREATE || op > last_op(version) || (flags & ~flags_known(version)) != 0) {
		return ERR_DECODE;
	}
	out->op = op;
	out->has_retention = (flags & FLAG_RETENTION) != 0;
	out->has_retention_bytes = (flags & FLAG_RETENTION_BYTES) != 0;
	out->has_cleanup = (flags & FLAG_CLEANUP) != 0;
	out->must_be_new = (flags & FLAG_MUST_BE_NEW) != 0;
	out->has_units = (flags & FLAG_UNITS) != 0;
	out->has_inflate_max = (flags & FLAG_INFLATE_MAX) != 0;
	out->has_deflate_after = (flags & FLAG_DEFLATE_AFTER) != 0;
#define FIELD(kind, field) GET_##kind(r, out->field);
	COMMAND_FIELDS(FIELD)
	if (version >= VERSION_PRODUCER_IDS) {
		out->producer_ids = rd_u32(r);
	}
	if (version >= VERSION_UNITS) {
		UNITS_FIELDS(FIELD)
	}
#undef FIELD
	if (rd.bad || rd_left(r) != 0 || out->cleanup > CATALOG_COMPACT_DELETE ||
	    out->units_by > CATALOG_UNITS_BY_LOAD || out->limit.kind > CATALOG_LIMIT_CLIENT) {
		return ERR_DECODE;
	}
	return ERR_OK;
}
