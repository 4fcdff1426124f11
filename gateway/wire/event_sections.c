/* A message cut into its sections: amqp_message_read of event.h. */

#include "gateway/wire/event.h"
#include "gateway/wire/event_priv.h"

enum {
	SECTION_HEAD = 3,	/* 0x00 0x53 code */
	RANK_BEFORE_BODY = 5,	/* that of application-properties */
	CODE_NULL = 0x40,
	CODE_LIST0 = 0x45,
	CODE_SMALLULONG = 0x53,
};

/* One row per section code from AMQP_HEADER on. `rank` is its place in the
 * order of AMQP 1.0 §3.2; body kinds exclude each other. */
static const struct {
	const char *name;
	uint8_t rank;
	uint8_t codes[3];	/* constructors the value may have; 0: any */
} sections[] = {
	{"header", 1, {CODE_LIST0, 0xc0, 0xd0}},
	{"delivery-annotations", 2, {0xc1, 0xd1, 0xd1}},
	{"message-annotations", 3, {0xc1, 0xd1, 0xd1}},
	{"properties", 4, {CODE_LIST0, 0xc0, 0xd0}},
	{"application-properties", 5, {0xc1, 0xd1, 0xd1}},
	{"data", 6, {0xa0, 0xb0, 0xb0}},
	{"amqp-sequence", 6, {CODE_LIST0, 0xc0, 0xd0}},
	{"amqp-value", 6, {0}},
	{"footer", 7, {0xc1, 0xd1, 0xd1}},
};
_Static_assert(sizeof sections / sizeof sections[0] == AMQP_FOOTER - AMQP_HEADER + 1,
	       "a row per section");

uint64_t amqp_section_code_read(struct rd *r)
{
	if (rd_left(r) >= SECTION_HEAD && r->p[0] == 0 && r->p[1] == CODE_SMALLULONG) {
		uint8_t code = r->p[2];
		rd_skip(r, SECTION_HEAD);
		return code;
	}
	struct amqp_value v = {.type = AMQP_DESCRIBED};
	if (rd_u8(r) != 0) {
		return UINT64_MAX;
	}
	v.descriptor = amqp_skip(r);
	return r->bad ? UINT64_MAX : amqp_descriptor_code(&v);
}

/* Whether a section may hold a value with that constructor. Null is let through
 * everywhere: one SDK sends a data section holding it. */
static bool section_allows(size_t row, uint8_t code)
{
	const uint8_t *allowed = sections[row].codes;
	return allowed[0] == 0 || code == CODE_NULL || code == allowed[0] ||
	       code == allowed[1] || code == allowed[2];
}

/* Whether a section may stand behind what was found so far, the last of which
 * had this rank. The JavaScript library writes the footer before the body. */
static bool section_may_follow(const struct amqp_message *m, uint64_t code, uint8_t rank)
{
	uint8_t own = sections[code - AMQP_HEADER].rank;
	if (code == AMQP_FOOTER) {
		return m->footer.n == 0;
	}
	bool again = m->body_sections > 0 && code == m->body_kind && code != AMQP_AMQP_VALUE;
	return own > rank || (own == rank && again);
}

static void section_keep(struct amqp_message *m, enum amqp_section_code code, struct span s)
{
	switch (code) {
	case AMQP_HEADER:
		m->header = s;
		break;
	case AMQP_DELIVERY_ANNOTATIONS:
		m->delivery_annotations = s;
		break;
	case AMQP_MESSAGE_ANNOTATIONS:
		m->message_annotations = s;
		break;
	case AMQP_PROPERTIES:
		m->properties = s;
		break;
	case AMQP_APPLICATION_PROPERTIES:
		m->application_properties = s;
		break;
	case AMQP_FOOTER:
		m->footer = s;
		break;
	case AMQP_DATA:
	case AMQP_SEQUENCE:
	case AMQP_AMQP_VALUE:
		m->body.p = m->body_sections == 0 ? s.p : m->body.p;
		m->body.n += s.n;
		m->body_sections++;
		m->body_kind = code;
		break;
	}
}

enum err amqp_sections_read(struct span in, enum amqp_check check, struct amqp_message *out,
			    struct err_detail *d)
{
	*out = (struct amqp_message){.body_sections = 0};
	struct rd r = rd_of(in);
	uint8_t rank = 0;	/* of the last section */
	while (r.p != r.end) {
		const uint8_t *from = r.p;
		size_t at = (size_t)(from - in.p);
		uint64_t code = amqp_section_code_read(&r);
		if (code < AMQP_HEADER || code > AMQP_FOOTER) {
			return err_set(d, ERR_DECODE, "byte %zu: no message section begins here", at);
		}
		size_t row = (size_t)code - AMQP_HEADER;
		if (!section_may_follow(out, code, rank)) {
			return err_set(d, ERR_DECODE, "%s section at byte %zu: repeated or out of order",
				       sections[row].name, at);
		}
		rank = code == AMQP_FOOTER && out->body_sections == 0 ? RANK_BEFORE_BODY
								      : sections[row].rank;
		if (rd_left(&r) == 0 || !section_allows(row, *r.p)) {
			return err_set(d, ERR_DECODE, "%s section at byte %zu: wrong type of value",
				       sections[row].name, at);
		}
		(void)(check == AMQP_CHECK_DEEP ? amqp_skip(&r) : amqp_skip_shallow(&r));
		if (r.bad) {
			return err_set(d, ERR_DECODE, "%s section at byte %zu: malformed",
				       sections[row].name, at);
		}
		section_keep(out, (enum amqp_section_code)code, span_of(from, (size_t)(r.p - from)));
	}
	return ERR_OK;
}

enum err amqp_message_read(struct span in, struct amqp_message *out, struct err_detail *d)
{
	return amqp_sections_read(in, AMQP_CHECK_DEEP, out, d);
}

struct amqp_value amqp_section_value(struct span section)
{
	struct rd r = rd_of(section);
	(void)amqp_section_code_read(&r);
	return amqp_read_shallow(&r);
}
