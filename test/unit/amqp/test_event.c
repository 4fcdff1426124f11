#include "gateway/wire/event.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "test/unit/amqp/golden.h"
#include "test/unit/amqp/wire_help.h"

Suite *event_suite(void);

static const struct span no_key = {NULL, 0};

/* Makes a batch that must succeed. */
static struct amqp_inbound make(struct span delivery, uint32_t format, struct span forced)
{
	struct amqp_inbound in;
	struct err_detail d = {""};
	enum err e = amqp_inbound_make(delivery, format, forced, &in, &d);
	ck_assert_msg(e == ERR_OK, "%s: %s", err_text(e), d.text);
	ck_assert_uint_eq(in.batch->len, in.batch_len + in.key_len);
	return in;
}

static enum err make_error(struct span delivery, uint32_t format, struct err_detail *d)
{
	struct amqp_inbound in;
	enum err e = amqp_inbound_make(delivery, format, no_key, &in, d);
	ck_assert_ptr_null(in.batch);
	return e;
}

/* Checks that event `n` has this value. */
static void check_event(const struct amqp_inbound *in, uint32_t n, struct span want)
{
	struct batch_iter it;
	struct batch_record rec = {.timestamp = 0};
	struct span batch = span_of(in->batch->data, in->batch_len);
	ck_assert_int_eq(batch_iter_init(&it, batch), ERR_OK);
	for (uint32_t i = 0; i <= n; i++) {
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert(!rec.has_key);
		ck_assert(rec.has_value);
		ck_assert_int_eq(rec.offset_delta, (int)i);
	}
	check_bytes(rec.value, want);
}

static void check_event_hex(const struct amqp_inbound *in, uint32_t n, const char *want)
{
	struct span s = hex(want);
	check_event(in, n, s);
	bytes_free(s);
}

static void check_key(const struct amqp_inbound *in, const char *want)
{
	check_bytes(span_of(in->batch->data + in->batch_len, in->key_len), span_str(want));
}

/* ---- sections --------------------------------------------------------- */

static const char *const messages[] = {
	golden_rhea_all, golden_rhea_seq, golden_rhea_value, golden_rhea_null_data,
	golden_rhea_empty, golden_rhea_batch, golden_proton_all, golden_proton_value,
	golden_proton_empty, golden_uamqp_keyed,
};
enum { N_MESSAGES = sizeof messages / sizeof messages[0] };

START_TEST(client_message_is_split)
{
	struct span in = hex(messages[_i]);
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(in, &m, NULL), ERR_OK);
	ck_assert_uint_eq(m.header.n + m.delivery_annotations.n + m.message_annotations.n +
			  m.properties.n + m.application_properties.n + m.body.n + m.footer.n, in.n);
	struct amqp_inbound made = make(in, AMQP_FORMAT_PLAIN, no_key);
	ck_assert_uint_eq(made.events, 1);
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

/* A cut message is an error, except where a section happens to end. */
START_TEST(client_message_cut_short_is_an_error)
{
	struct span in = hex(messages[_i]);
	struct amqp_message whole;
	ck_assert_int_eq(amqp_message_read(in, &whole, NULL), ERR_OK);
	size_t accepted = 0;
	for (size_t n = 0; n < in.n; n++) {
		struct span cut = prefix(in, n);
		struct err_detail d = {""};
		struct amqp_message m;
		enum err e = amqp_message_read(cut, &m, &d);
		if (e == ERR_OK) {
			accepted++;
		} else {
			ck_assert_int_eq(e, ERR_DECODE);
			ck_assert(strstr(d.text, "byte ") != NULL);
		}
		struct amqp_inbound made;
		if (amqp_inbound_make(cut, AMQP_FORMAT_BATCH, no_key, &made, &d) == ERR_OK) {
			buf_drop(&made.batch);
		}
		bytes_free(cut);
	}
	const struct span found[] = {
		whole.header, whole.delivery_annotations, whole.message_annotations,
		whole.properties, whole.application_properties, whole.footer,
	};
	size_t sections = whole.body_sections;
	for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
		sections += found[i].n > 0;
	}
	ck_assert_uint_eq(accepted, sections);
	bytes_free(in);
}
END_TEST

START_TEST(flipped_byte_is_survived)
{
	struct span in = hex(messages[_i]);
	struct span copy = prefix(in, in.n);
	union {
		const uint8_t *in;
		uint8_t *out;
	} p = {.in = copy.p};
	for (size_t at = 0; at < in.n; at++) {
		static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x40};
		for (size_t f = 0; f < sizeof flips; f++) {
			p.out[at] ^= flips[f];
			for (int batch = 0; batch < 2; batch++) {
				struct amqp_inbound made;
				if (amqp_inbound_make(copy, batch ? AMQP_FORMAT_BATCH : AMQP_FORMAT_PLAIN,
						      no_key, &made, NULL) == ERR_OK) {
					buf_drop(&made.batch);
				}
			}
			p.out[at] ^= flips[f];
		}
	}
	bytes_free(copy);
	bytes_free(in);
}
END_TEST

static const struct {
	const char *hex;
	const char *section;
} bad_messages[] = {
	{"40", "byte 0"},
	{"005379a00161", "byte 0"},			/* unknown section */
	{"00536fa00161", "byte 0"},
	{"00537545", "data section at byte 0"},		/* data holding a list */
	{"005370c10100", "header section at byte 0"},
	{"005372c00100", "message-annotations section at byte 0"},
	{"005376a00161", "amqp-sequence section at byte 0"},
	{"00537345 00537045", "header section at byte 4"},	/* out of order */
	{"00537045 00537045", "header section at byte 4"},	/* twice */
	{"00537740 00537740", "amqp-value section at byte 4"},
	{"0053754 0 00537645", "amqp-sequence section at byte 4"},	/* two kinds of body */
	{"005378c10100 00537540 005378c10100", "footer section at byte 10"},
	{"005378c10100 00537345", "properties section at byte 6"},
	{"0053754 0 005378c10100 00537540", "data section at byte 10"},
	{"005375a0ff01", "data section at byte 0"},
	{"005374c1030 2a101", "application-properties section at byte 0"},
	{"005374c1020140", "application-properties section at byte 0"},
	{"0053", "byte 0"},
	{"00", "byte 0"},
	{"005370", "header section at byte 0"},
	{"00a30178a00161", "byte 0"},
};

START_TEST(bad_message_names_section_and_byte)
{
	struct span in = hex(bad_messages[_i].hex);
	struct err_detail d = {""};
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(in, &m, &d), ERR_DECODE);
	ck_assert_msg(strstr(d.text, bad_messages[_i].section) != NULL, "%s", d.text);
	bytes_free(in);
}
END_TEST

START_TEST(symbol_descriptor_is_a_section)
{
	struct span in = hex("00a310616d71703a646174613a62696e617279 a00161");
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(in, &m, NULL), ERR_OK);
	ck_assert_int_eq(m.body_kind, AMQP_DATA);
	check_bytes(m.body, in);
	bytes_free(in);
}
END_TEST

START_TEST(body_of_several_sections_is_kept)
{
	struct span in = hex("00537045 005375a00161 005375a00162 005378c10100");
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(in, &m, NULL), ERR_OK);
	ck_assert_uint_eq(m.body_sections, 2);
	check_hex(m.body, "005375a00161 005375a00162");
	check_hex(m.footer, "005378c10100");
	bytes_free(in);
}
END_TEST

START_TEST(footer_before_the_body_is_moved)
{
	struct span in = hex("00537045 00537345 005378c10100 005375a00161 005375a00162");
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(in, &m, NULL), ERR_OK);
	check_hex(m.footer, "005378c10100");
	check_hex(m.body, "005375a00161 005375a00162");
	struct amqp_inbound made = make(in, AMQP_FORMAT_PLAIN, no_key);
	check_event_hex(&made, 0, "00537045 00537345 005375a00161 005375a00162 005378c10100");
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

START_TEST(message_without_body_is_accepted)
{
	struct span in = hex("00537045");
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(in, &m, NULL), ERR_OK);
	ck_assert_uint_eq(m.body_sections, 0);
	ck_assert_int_eq(m.body_kind, 0);
	bytes_free(in);
	ck_assert_int_eq(amqp_message_read(no_key, &m, NULL), ERR_OK);
	ck_assert_uint_eq(m.body.n, 0);
}
END_TEST

/* ---- what is stored --------------------------------------------------- */

START_TEST(delivery_annotations_are_left_out)
{
	struct span in = hex("00537045 005371c10502a1016141 00537345 00537540");
	struct amqp_inbound made = make(in, AMQP_FORMAT_PLAIN, no_key);
	check_event_hex(&made, 0, "00537045 00537345 00537540");
	ck_assert_uint_eq(made.key_len, 0);
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

START_TEST(reserved_annotations_are_left_out)
{
	/* mine, x-opt-offset, x-opt-partition-key, other (ulong key). */
	struct span in = hex("005372c1 3808 a3046d696e65 5401"
			     "a30c782d6f70742d6f6666736574 a10131"
			     "a313782d6f70742d706172746974696f6e2d6b6579 a1026b31"
			     "5305 a3016f 00537540");
	struct amqp_inbound made = make(in, AMQP_FORMAT_PLAIN, no_key);
	check_event_hex(&made, 0, "005372c10e04 a3046d696e655401 5305a3016f 00537540");
	check_key(&made, "k1");
	ck_assert(!made.has_producer);
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

START_TEST(emptied_annotations_are_dropped)
{
	struct span in = hex("00537045 005372d10000001d00000002"
			     "a313782d6f70742d706172746974696f6e2d6b6579a1026b32 005375a00161");
	struct amqp_inbound made = make(in, AMQP_FORMAT_PLAIN, no_key);
	check_event_hex(&made, 0, "00537045 005375a00161");
	check_key(&made, "k2");
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

/* An annotations section of `names` with null values, followed by nothing. */
static void put_annotations(struct str *s, const char *const *names, size_t n, size_t pad)
{
	static const char filler[400];
	amqp_put_descriptor(s, AMQP_MESSAGE_ANNOTATIONS);
	size_t mark = amqp_begin_map(s);
	for (size_t i = 0; i < n; i++) {
		amqp_put_symbol(s, span_str(names[i]));
		amqp_put_null(s);
	}
	if (pad > 0) {
		amqp_put_symbol(s, span_str("pad"));
		amqp_put_binary(s, span_of(filler, pad));
		n++;
	}
	amqp_end(s, mark, (uint32_t)n * 2);
}

START_TEST(every_reserved_name_is_left_out)
{
	static const char *const names[] = {
		"x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time",
		"x-opt-partition-key", "x-opt-publisher-name", "x-opt-sequence-number-epoch",
		"com.microsoft:producer-id", "com.microsoft:producer-epoch",
		"com.microsoft:producer-sequence-number",
	};
	struct str s = {.max = 0};
	put_annotations(&s, names, sizeof names / sizeof names[0], 0);
	struct amqp_inbound made = make(str_span(&s), AMQP_FORMAT_PLAIN, no_key);
	check_event(&made, 0, no_key);
	ck_assert(made.has_producer);
	ck_assert_uint_eq(made.key_len, 0);
	buf_drop(&made.batch);
	str_fini(&s);
}
END_TEST

START_TEST(similar_names_stay)
{
	static const char *const names[] = {
		"x-opt-", "x-opt-offset2", "x-opt-partition", "x-opt-kafka-key",
		"com.microsoft:producer-", "X-OPT-OFFSET", "",
	};
	struct str s = {.max = 0};
	put_annotations(&s, names, sizeof names / sizeof names[0], 0);
	struct amqp_inbound made = make(str_span(&s), AMQP_FORMAT_PLAIN, no_key);
	check_event(&made, 0, str_span(&s));
	buf_drop(&made.batch);
	str_fini(&s);
}
END_TEST

/* The rewritten map is a map8 up to 254 octets of entries. */
START_TEST(kept_entries_choose_the_map)
{
	static const char *const names[] = {"x-opt-offset"};
	for (size_t bytes = 252; bytes < 258; bytes++) {
		struct str s = {.max = 0};
		size_t value = bytes - 5 - 2;	/* sym8 "pad", vbin8 head */
		put_annotations(&s, names, 1, value);
		struct amqp_inbound made = make(str_span(&s), AMQP_FORMAT_PLAIN, no_key);
		struct batch_iter it;
		struct batch_record rec;
		ck_assert_int_eq(batch_iter_init(&it, span_of(made.batch->data, made.batch_len)), ERR_OK);
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert_uint_eq(rec.value.p[3], bytes <= 254 ? 0xc1 : 0xd1);
		struct amqp_message m;
		ck_assert_int_eq(amqp_message_read(rec.value, &m, NULL), ERR_OK);
		struct rd r = rd_of(span_of(rec.value.p + 3, rec.value.n - 3));
		struct amqp_value map = amqp_read(&r);
		ck_assert_uint_eq(map.count, 2);
		ck_assert_uint_eq(map.data.n, bytes);
		buf_drop(&made.batch);
		str_fini(&s);
	}
}
END_TEST

START_TEST(repeated_reserved_names_are_refused)
{
	const char *names[40];
	for (size_t i = 0; i < 40; i++) {
		names[i] = i % 2 == 0 ? "x-opt-offset" : "mine";
	}
	struct str s = {.max = 0};
	put_annotations(&s, names, 32, 0);	/* 16 of them reserved */
	struct amqp_inbound made = make(str_span(&s), AMQP_FORMAT_PLAIN, no_key);
	buf_drop(&made.batch);
	s.len = 0;
	put_annotations(&s, names, 34, 0);
	ck_assert_int_eq(make_error(str_span(&s), AMQP_FORMAT_PLAIN, NULL), ERR_DECODE);
	str_fini(&s);
}
END_TEST

START_TEST(everything_else_is_kept_verbatim)
{
	struct span in = hex(_i == 0 ? golden_rhea_all : golden_proton_all);
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(in, &m, NULL), ERR_OK);
	struct amqp_inbound made = make(in, AMQP_FORMAT_PLAIN, no_key);
	struct batch_iter it;
	struct batch_record rec;
	struct amqp_message kept;
	ck_assert_int_eq(batch_iter_init(&it, span_of(made.batch->data, made.batch_len)), ERR_OK);
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	ck_assert_int_eq(amqp_message_read(rec.value, &kept, NULL), ERR_OK);
	check_bytes(kept.header, m.header);
	ck_assert_uint_eq(kept.delivery_annotations.n, 0);
	check_bytes(kept.properties, m.properties);
	check_bytes(kept.application_properties, m.application_properties);
	check_bytes(kept.body, m.body);
	check_bytes(kept.footer, m.footer);
	if (_i == 0) {
		check_key(&made, "pk");
		/* rhea: mine = symbol "sym", x-opt-other = 1; both keep their encoding. */
		check_hex(kept.message_annotations,
			  "005372c11b04a3046d696e65a30373796da30b782d6f70742d6f746865725201");
	} else {
		check_hex(kept.message_annotations, "005372c10c04a30161a10162a301635301");
	}
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

/* ---- batches ---------------------------------------------------------- */

START_TEST(batch_is_split)
{
	struct span in = hex(golden_rhea_batch);
	struct amqp_inbound made = make(in, AMQP_FORMAT_BATCH, no_key);
	ck_assert_uint_eq(made.events, 3);
	check_key(&made, "kk");
	check_event_hex(&made, 0, "005370d0000000050000000141 00537345 005375a0026530");
	check_event_hex(&made, 2, "005370d0000000050000000141 00537345 005375a0026532");
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

START_TEST(key_of_all_inner_events_is_taken)
{
	struct span in = hex(golden_rhea_batch_inner_keys);
	struct amqp_inbound made = make(in, AMQP_FORMAT_BATCH, no_key);
	ck_assert_uint_eq(made.events, 2);
	check_key(&made, "in");
	buf_drop(&made.batch);
	made = make(in, AMQP_FORMAT_BATCH, span_str("forced"));
	check_key(&made, "forced");
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

START_TEST(different_inner_keys_are_refused)
{
	struct span in = hex(golden_rhea_batch_differ);
	struct err_detail d = {""};
	ck_assert_int_eq(make_error(in, AMQP_FORMAT_BATCH, &d), ERR_INVALID);
	ck_assert(strstr(d.text, "event 1: ") == d.text);
	struct amqp_inbound made = make(in, AMQP_FORMAT_BATCH, span_str("p"));
	check_key(&made, "p");
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

START_TEST(inner_events_may_have_every_section)
{
	/* Inner: header, delivery annotations, sequence and footer; null data; value. */
	struct span in = hex("005375a019 00537045 005371c10502a1016141 00537645 005378c10100 00"
			     "005375a00400537540 005375b00000000400537740");
	/* The first inner message ends in a stray octet. */
	struct err_detail d = {""};
	ck_assert_int_eq(make_error(in, AMQP_FORMAT_BATCH, &d), ERR_DECODE);
	bytes_free(in);
	in = hex("005375a018 00537045 005371c10502a1016141 00537645 005378c10100"
		 "005375a00400537540 005375b00000000400537740");
	struct amqp_inbound made = make(in, AMQP_FORMAT_BATCH, no_key);
	ck_assert_uint_eq(made.events, 3);
	check_event_hex(&made, 0, "00537045 00537645 005378c10100");
	check_event_hex(&made, 1, "00537540");
	check_event_hex(&made, 2, "00537740");
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

static const struct {
	const char *hex;
	uint32_t format;
	enum err err;
} bad_deliveries[] = {
	{"00537045", AMQP_FORMAT_BATCH, ERR_INVALID},		/* no event */
	{"", AMQP_FORMAT_BATCH, ERR_INVALID},
	{"00537740", AMQP_FORMAT_BATCH, ERR_DECODE},		/* not data */
	{"00537540", AMQP_FORMAT_BATCH, ERR_DECODE},		/* no message */
	{"005375a00161", AMQP_FORMAT_BATCH, ERR_DECODE},
	{"005375a00161", 1, ERR_INVALID},			/* unknown format */
	{"005375a00161", UINT32_C(0x80013701), ERR_INVALID},
	{"005372c11602a313782d6f70742d706172746974696f6e2d6b657941", AMQP_FORMAT_PLAIN, ERR_DECODE},
	{"005372c11702a313782d6f70742d706172746974696f6e2d6b657941", AMQP_FORMAT_PLAIN, ERR_INVALID},
	{"005372c11902a313782d6f70742d706172746974696f6e2d6b6579a101ff", AMQP_FORMAT_PLAIN, ERR_INVALID},
};

START_TEST(bad_delivery_is_refused)
{
	struct span in = hex(bad_deliveries[_i].hex);
	struct err_detail d = {""};
	ck_assert_int_eq(make_error(in, bad_deliveries[_i].format, &d), bad_deliveries[_i].err);
	ck_assert_str_ne(d.text, "");
	bytes_free(in);
}
END_TEST

/* A plain message whose key is `chars` times a character. */
static void put_keyed(struct str *s, const char *c, size_t n)
{
	struct str key = {.max = 0};
	for (size_t i = 0; i < n; i++) {
		str_add(&key, c);
	}
	amqp_put_descriptor(s, AMQP_MESSAGE_ANNOTATIONS);
	size_t mark = amqp_begin_map(s);
	amqp_put_symbol(s, span_str("x-opt-partition-key"));
	amqp_put_string(s, str_span(&key));
	amqp_end(s, mark, 2);
	str_fini(&key);
}

START_TEST(key_length_counts_characters)
{
	static const char *const characters[] = {"a", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	for (size_t n = LIMIT_PARTITION_KEY - 1; n <= LIMIT_PARTITION_KEY + 1; n++) {
		struct str s = {.max = 0};
		put_keyed(&s, characters[_i], n);
		if (n <= LIMIT_PARTITION_KEY) {
			struct amqp_inbound made = make(str_span(&s), AMQP_FORMAT_PLAIN, no_key);
			ck_assert_uint_eq(made.key_len, n * strlen(characters[_i]));
			buf_drop(&made.batch);
		} else {
			struct err_detail d = {""};
			ck_assert_int_eq(make_error(str_span(&s), AMQP_FORMAT_PLAIN, &d), ERR_INVALID);
		}
		str_fini(&s);
	}
}
END_TEST

START_TEST(key_that_is_not_utf8_is_refused)
{
	static const char *const keys[] = {
		"\x80", "\xc3", "\xc3z", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80",
		"\xf4\x90\x80\x80", "\xff", "ok\xe2\x82",
	};
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		struct str s = {.max = 0};
		put_keyed(&s, keys[i], 1);
		ck_assert_int_eq(make_error(str_span(&s), AMQP_FORMAT_PLAIN, NULL), ERR_INVALID);
		str_fini(&s);
	}
}
END_TEST

/* A batch of n events of `size` octets of data each. */
static void put_batch(struct str *s, size_t n, size_t size)
{
	static uint8_t zeros[70000];
	struct str inner = {.max = 0};
	amqp_put_descriptor(&inner, AMQP_DATA);
	amqp_put_binary(&inner, span_of(zeros, size));
	for (size_t i = 0; i < n; i++) {
		amqp_put_descriptor(s, AMQP_DATA);
		amqp_put_binary(s, str_span(&inner));
	}
	str_fini(&inner);
}

START_TEST(large_batches_are_stored_up_to_the_limit)
{
	struct str s = {.max = 0};
	put_batch(&s, 31, 65536);
	struct amqp_inbound made = make(str_span(&s), AMQP_FORMAT_BATCH, span_str("k"));
	ck_assert_uint_eq(made.events, 31);
	check_key(&made, "k");
	buf_drop(&made.batch);
	put_batch(&s, 1, 65536);
	struct err_detail d = {""};
	ck_assert_int_eq(make_error(str_span(&s), AMQP_FORMAT_BATCH, &d), ERR_TOO_LARGE);
	str_fini(&s);
	put_batch(&s, 10000, 0);	/* many small ones: the records outgrow the delivery */
	made = make(str_span(&s), AMQP_FORMAT_BATCH, no_key);
	ck_assert_uint_eq(made.events, 10000);
	buf_drop(&made.batch);
	str_fini(&s);
}
END_TEST

/* Near the limit the builder's block has no room for the key behind it. */
START_TEST(key_behind_a_full_batch_is_kept)
{
	struct str body = {.max = 0};
	static uint8_t zeros[LIMIT_BATCH];
	struct str key = {.max = 0};
	while (key.len < 256) {
		str_add(&key, "p");
	}
	amqp_put_descriptor(&body, AMQP_DATA);
	amqp_put_binary(&body, span_of(zeros, LIMIT_BATCH - BATCH_HEAD - 8 - 14));
	struct amqp_inbound made = make(str_span(&body), AMQP_FORMAT_PLAIN, str_span(&key));
	ck_assert_uint_le(made.batch_len, LIMIT_BATCH);
	ck_assert_uint_gt(made.batch_len, LIMIT_BATCH - 16);
	check_key(&made, key.p);
	buf_drop(&made.batch);
	str_fini(&body);
	str_fini(&key);
}
END_TEST

START_TEST(making_without_memory_fails_cleanly)
{
	struct span in = hex(golden_rhea_batch);
	for (long n = 1;; n++) {
		struct amqp_inbound made;
		mem_fault_at(n);
		enum err e = amqp_inbound_make(in, AMQP_FORMAT_BATCH, no_key, &made, NULL);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			ck_assert_int_gt(n, 1);
			buf_drop(&made.batch);
			break;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
		ck_assert_ptr_null(made.batch);
	}
	bytes_free(in);
}
END_TEST

START_TEST(http_event_has_properties_and_data)
{
	struct batch_builder b;
	batch_builder_init(&b, 1000, LIMIT_BATCH);
	struct span properties = hex("005374c10502a1016141");
	amqp_event_add_http(&b, span_str("body"), properties);
	amqp_event_add_http(&b, no_key, no_key);
	static const uint8_t zeros[256];
	amqp_event_add_http(&b, span_of(zeros, 256), no_key);
	struct amqp_inbound made = {.batch = NULL};
	ck_assert_int_eq(batch_builder_finish(&b, &made.batch), ERR_OK);
	made.batch_len = made.batch->len;
	check_event_hex(&made, 0, "005374c10502a1016141 005375a004626f6479");
	check_event_hex(&made, 1, "005375a000");
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(batch_iter_init(&it, span_of(made.batch->data, made.batch_len)), ERR_OK);
	for (int i = 0; i < 3; i++) {
		struct amqp_message m;
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert_int_eq(amqp_message_read(rec.value, &m, NULL), ERR_OK);
		ck_assert_int_eq(m.body_kind, AMQP_DATA);
	}
	ck_assert_uint_eq(rec.value.n, 3 + 5 + 256);
	buf_drop(&made.batch);
	batch_builder_fini(&b);
	bytes_free(properties);
}
END_TEST

Suite *event_suite(void)
{
	Suite *s = suite_create("amqp event");
	TCase *t = tcase_create("sections");
	tcase_add_loop_test(t, client_message_is_split, 0, N_MESSAGES);
	tcase_add_loop_test(t, client_message_cut_short_is_an_error, 0, N_MESSAGES);
	tcase_add_loop_test(t, flipped_byte_is_survived, 0, N_MESSAGES);
	tcase_add_loop_test(t, bad_message_names_section_and_byte, 0,
			    sizeof bad_messages / sizeof bad_messages[0]);
	tcase_add_test(t, symbol_descriptor_is_a_section);
	tcase_add_test(t, body_of_several_sections_is_kept);
	tcase_add_test(t, footer_before_the_body_is_moved);
	tcase_add_test(t, message_without_body_is_accepted);
	suite_add_tcase(s, t);
	t = tcase_create("stored");
	tcase_add_test(t, delivery_annotations_are_left_out);
	tcase_add_test(t, reserved_annotations_are_left_out);
	tcase_add_test(t, emptied_annotations_are_dropped);
	tcase_add_test(t, every_reserved_name_is_left_out);
	tcase_add_test(t, similar_names_stay);
	tcase_add_test(t, kept_entries_choose_the_map);
	tcase_add_test(t, repeated_reserved_names_are_refused);
	tcase_add_loop_test(t, everything_else_is_kept_verbatim, 0, 2);
	suite_add_tcase(s, t);
	t = tcase_create("batches");
	tcase_add_test(t, batch_is_split);
	tcase_add_test(t, key_of_all_inner_events_is_taken);
	tcase_add_test(t, different_inner_keys_are_refused);
	tcase_add_test(t, inner_events_may_have_every_section);
	tcase_add_loop_test(t, bad_delivery_is_refused, 0,
			    sizeof bad_deliveries / sizeof bad_deliveries[0]);
	tcase_add_loop_test(t, key_length_counts_characters, 0, 4);
	tcase_add_test(t, key_that_is_not_utf8_is_refused);
	tcase_add_test(t, large_batches_are_stored_up_to_the_limit);
	tcase_add_test(t, key_behind_a_full_batch_is_kept);
	tcase_add_test(t, making_without_memory_fails_cleanly);
	tcase_add_test(t, http_event_has_properties_and_data);
	suite_add_tcase(s, t);
	return s;
}
