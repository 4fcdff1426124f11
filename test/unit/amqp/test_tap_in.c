#include "gateway/amqp/tap.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gateway/wire/codec.h"
#include "gateway/wire/event.h"
#include "test/unit/amqp/golden.h"
#include "test/unit/amqp/wire_help.h"

Suite *tap_in_suite(void);

#define SASL_HEADER "414d515003010000"
#define AMQP_HEADER_HEX "414d515000010000"

/* Writes down everything the tap told about a unit. */
static void describe(const struct amqp_tap_frame *f, struct str *log)
{
	str_printf(log, "%d ch%u sasl%d p%02x h%u f%d:%08x d%d:%u m%d a%d r%d [%.*s]", f->kind,
		   f->channel, f->is_sasl, f->performative, (unsigned)f->handle, f->has_format,
		   (unsigned)f->message_format, f->has_delivery_id, (unsigned)f->delivery_id,
		   f->more, f->aborted, f->peer_is_receiver, (int)f->link_name.n,
		   (const char *)f->link_name.p);
	for (uint32_t i = 0; i < f->n_capabilities; i++) {
		str_printf(log, " %.*s", (int)f->capabilities[i].n,
			   (const char *)f->capabilities[i].p);
	}
	str_add(log, "\n");
}

/* Feeds `in` in pieces of `size` (0: whole) up to its end or an error; adds the
 * units' descriptions to `log` and their bytes to `units`. */
static enum err feed(struct amqp_tap_in *t, struct span in, size_t size, struct str *log,
		     struct str *units)
{
	while (in.n > 0) {
		size_t n = size == 0 || size > in.n ? in.n : size;
		struct span piece = prefix(in, n);
		struct span left = piece;
		enum err e = ERR_OK;
		struct amqp_tap_frame f = {.kind = AMQP_TAP_EMPTY};
		while (e == ERR_OK && f.kind != AMQP_TAP_MORE) {
			e = amqp_tap_in_next(t, &left, &f, NULL);
			if (e == ERR_OK && f.kind != AMQP_TAP_MORE) {
				describe(&f, log);
				str_addn(units, f.bytes.p, f.bytes.n);
			}
		}
		ck_assert(e != ERR_OK || left.n == 0);
		bytes_free(piece);
		if (e != ERR_OK) {
			return e;
		}
		in.p += n;
		in.n -= n;
	}
	return ERR_OK;
}

/* Feeds at every fragment size: the results must agree. Gives those of the
 * whole feed. */
static enum err feed_all_sizes(struct span in, uint32_t max_frame, struct str *log,
			       struct str *units)
{
	enum err first = ERR_OK;
	for (int i = 4; i >= 0; i--) {
		struct amqp_tap_in t;
		struct str log2 = {.max = 0}, units2 = {.max = 0};
		amqp_tap_in_init(&t, max_frame);
		enum err e = feed(&t, in, fragment_sizes[i], &log2, &units2);
		amqp_tap_in_fini(&t);
		if (i == 4) {
			first = e;
			*log = log2;
			*units = units2;
			continue;
		}
		ck_assert_int_eq(e, first);
		check_bytes(str_span(&log2), str_span(log));
		check_bytes(str_span(&units2), str_span(units));
		str_fini(&log2);
		str_fini(&units2);
	}
	return first;
}

/* Feeds hexadecimal text and compares what was said with `want` (NULL: any). */
static void check_feed(const char *text, enum err err, const char *want)
{
	struct span in = hex(text);
	struct str log = {.max = 0}, units = {.max = 0};
	ck_assert_int_eq(feed_all_sizes(in, LIMIT_AMQP_FRAME, &log, &units), err);
	if (want != NULL) {
		ck_assert_str_eq(log.len > 0 ? log.p : "", want);
	}
	str_fini(&log);
	str_fini(&units);
	bytes_free(in);
}

/* ---- transcripts ------------------------------------------------------ */

static const struct {
	const char *hex;
	const char *said[6];	/* each must occur */
	bool has_max_frame;	/* open carries a four-octet max-frame-size */
} transcripts[] = {
	{golden_js_main,
	 {"1 ch0 sasl0 p00", "3 ch0 sasl1 p41", "3 ch2 sasl0 p12 h0",
	  "[hub] com.microsoft:georeplication\n", "p14 h0 f1:80013700 d1:0 m0",
	  "p14 h0 f1:80013700 d1:2 m1"}, false},
	{golden_js_reader,
	 {"r1 [hub/ConsumerGroups/$Default/Partitions/0-", "com.microsoft:enable-receiver-runtime-metric",
	  "f1:00000000"}, false},
	{golden_pyamqp,
	 {"3 ch1 sasl0 p12 h1", "r1 [", "com.microsoft:enable-receiver-runtime-metric",
	  "p14 h2 f1:80013700 d1:1 m0", "p14 h2 f1:00000000 d1:0 m0", "p18"}, true},
	{golden_proton_client, {"p14 h0 f1:00000000", "m1", "p18"}, false},
};
enum { N_TRANSCRIPTS = sizeof transcripts / sizeof transcripts[0] };

START_TEST(transcript_is_cut_into_units)
{
	struct span in = hex(transcripts[_i].hex);
	struct str log = {.max = 0}, units = {.max = 0};
	ck_assert_int_eq(feed_all_sizes(in, LIMIT_AMQP_FRAME, &log, &units), ERR_OK);
	for (size_t i = 0; i < 6 && transcripts[_i].said[i] != NULL; i++) {
		ck_assert_msg(strstr(log.p, transcripts[_i].said[i]) != NULL, "%s not in\n%s",
			      transcripts[_i].said[i], log.p);
	}
	ck_assert_uint_eq(units.len, in.n);
	size_t differ = 0;
	for (size_t i = 0; i < in.n; i++) {
		differ += (uint8_t)units.p[i] != in.p[i];
	}
	ck_assert_int_eq(differ > 0, transcripts[_i].has_max_frame);
	ck_assert_uint_le(differ, 4);
	str_fini(&log);
	str_fini(&units);
	bytes_free(in);
}
END_TEST

/* Cut anywhere, a transcript gives its first units and then wants more. */
START_TEST(transcript_cut_short_wants_more)
{
	struct span in = hex(transcripts[_i].hex);
	size_t last = 0;
	for (size_t n = 0; n < in.n; n += n < 1200 ? 1 : 97) {
		struct amqp_tap_in t;
		struct str log = {.max = 0}, units = {.max = 0};
		amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
		ck_assert_int_eq(feed(&t, span_of(in.p, n), 0, &log, &units), ERR_OK);
		ck_assert_uint_ge(units.len, last);
		ck_assert_uint_le(units.len, n);
		last = units.len;
		amqp_tap_in_fini(&t);
		str_fini(&log);
		str_fini(&units);
	}
	bytes_free(in);
}
END_TEST

START_TEST(flipped_byte_is_survived)
{
	struct span in = hex(transcripts[_i].hex);
	struct span copy = prefix(in, in.n);
	union {
		const uint8_t *in;
		uint8_t *out;
	} p = {.in = copy.p};
	for (size_t at = 0; at < in.n && at < 1500; at++) {
		static const uint8_t flips[] = {0x01, 0xff};
		for (size_t f = 0; f < sizeof flips; f++) {
			struct amqp_tap_in t;
			struct str log = {.max = 0}, units = {.max = 0};
			p.out[at] ^= flips[f];
			amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
			(void)!feed(&t, copy, 0, &log, &units);
			amqp_tap_in_fini(&t);
			str_fini(&log);
			str_fini(&units);
			p.out[at] ^= flips[f];
		}
	}
	bytes_free(copy);
	bytes_free(in);
}
END_TEST

/* Puts together the deliveries of a transcript as a server would. */
START_TEST(deliveries_of_a_transcript_become_batches)
{
	static const char *const wanted[] = {"3", "1k", "2", "1", ""};
	struct span in = hex(golden_js_main);
	struct amqp_tap_in t;
	struct str delivery = {.max = 0};
	amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
	struct span left = in;
	struct amqp_tap_frame f;
	uint32_t format = 0;
	size_t n = 0;
	do {
		ck_assert_int_eq(amqp_tap_in_next(&t, &left, &f, NULL), ERR_OK);
		if (f.performative != AMQP_TRANSFER) {
			continue;
		}
		struct rd r = rd_of(span_of(f.bytes.p + 8, f.bytes.n - 8));
		(void)amqp_skip(&r);
		ck_assert(!r.bad);
		str_addn(&delivery, r.p, rd_left(&r));
		format = f.has_format ? f.message_format : format;
		if (f.more) {
			continue;
		}
		struct amqp_inbound made;
		ck_assert_int_eq(amqp_inbound_make(str_span(&delivery), format,
						   (struct span){NULL, 0}, &made, NULL), ERR_OK);
		if (format == AMQP_FORMAT_BATCH) {
			char text[16];
			snprintf(text, sizeof text, "%u%s", (unsigned)made.events,
				 made.key_len > 0 ? "k" : "");
			ck_assert_str_eq(text, wanted[n++]);
		}
		buf_drop(&made.batch);
		delivery.len = 0;
	} while (f.kind != AMQP_TAP_MORE);
	ck_assert_uint_eq(n, 4);
	str_fini(&delivery);
	amqp_tap_in_fini(&t);
	bytes_free(in);
}
END_TEST

START_TEST(whole_frames_are_not_copied)
{
	struct span in = hex(golden_js_main);
	struct amqp_tap_in t;
	amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
	struct span left = in;
	struct amqp_tap_frame f;
	mem_fault_at(1);
	do {
		ck_assert_int_eq(amqp_tap_in_next(&t, &left, &f, NULL), ERR_OK);
		ck_assert(f.bytes.n == 0 || (f.bytes.p >= in.p && f.bytes.p < in.p + in.n));
	} while (f.kind != AMQP_TAP_MORE);
	ck_assert(!mem_fault_fired());
	mem_fault_at(0);
	amqp_tap_in_fini(&t);
	bytes_free(in);
}
END_TEST

/* ---- headers and frame heads ------------------------------------------ */

START_TEST(headers_come_in_order)
{
	const char *const header = "1 ch0 sasl0 p00 h0 f0:00000000 d0:0 m0 a0 r0 []\n";
	check_feed(AMQP_HEADER_HEX, ERR_OK, header);
	check_feed(SASL_HEADER, ERR_OK, header);
	check_feed(AMQP_HEADER_HEX AMQP_HEADER_HEX, ERR_PROTOCOL, header);
	check_feed(SASL_HEADER SASL_HEADER, ERR_PROTOCOL, header);
	check_feed(SASL_HEADER AMQP_HEADER_HEX, ERR_PROTOCOL, header);
	check_feed(AMQP_HEADER_HEX SASL_HEADER, ERR_PROTOCOL, header);
	check_feed("414d515002010000", ERR_PROTOCOL, "");
	check_feed("414d515001010000", ERR_PROTOCOL, "");
	check_feed("414d515000000901", ERR_PROTOCOL, "");
	check_feed("414d515000010001", ERR_PROTOCOL, "");
	check_feed("474554202f20485454502f312e31", ERR_PROTOCOL, "");
	check_feed("16", ERR_PROTOCOL, "");
	check_feed("414d", ERR_OK, "");
	check_feed("414e", ERR_PROTOCOL, "");
}
END_TEST

START_TEST(tls_header_is_named)
{
	struct amqp_tap_in t;
	struct amqp_tap_frame f;
	struct err_detail d = {""};
	struct span in = hex("414d515002010000");
	struct span left = in;
	amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
	ck_assert_int_eq(amqp_tap_in_next(&t, &left, &f, &d), ERR_PROTOCOL);
	ck_assert(strstr(d.text, "TLS") != NULL);
	amqp_tap_in_fini(&t);
	bytes_free(in);
}
END_TEST

START_TEST(impossible_frame_is_refused)
{
	check_feed(AMQP_HEADER_HEX "0000000702000000", ERR_PROTOCOL, NULL);
	check_feed(AMQP_HEADER_HEX "0000000002000000", ERR_PROTOCOL, NULL);
	check_feed(AMQP_HEADER_HEX "0000000801000000", ERR_PROTOCOL, NULL);
	check_feed(AMQP_HEADER_HEX "0000000803000000", ERR_PROTOCOL, NULL);
	check_feed(AMQP_HEADER_HEX "0000000802010000", ERR_PROTOCOL, NULL);	/* SASL type */
	check_feed(SASL_HEADER "0000000802000000", ERR_PROTOCOL, NULL);	/* AMQP type */
	check_feed(AMQP_HEADER_HEX "ffffffff02000000", ERR_TOO_LARGE, NULL);
}
END_TEST

START_TEST(empty_frame_is_a_heartbeat)
{
	check_feed(AMQP_HEADER_HEX "0000000802000005 0000000c0300000700000000", ERR_OK,
		   "1 ch0 sasl0 p00 h0 f0:00000000 d0:0 m0 a0 r0 []\n"
		   "2 ch5 sasl0 p00 h0 f0:00000000 d0:0 m0 a0 r0 []\n"
		   "2 ch7 sasl0 p00 h0 f0:00000000 d0:0 m0 a0 r0 []\n");
}
END_TEST

START_TEST(frame_size_is_limited)
{
	enum { MAX = 1000 };
	for (uint32_t size = MAX - 1; size <= MAX + 1; size++) {
		uint8_t bytes[8 + MAX + 1] = {'A', 'M', 'Q', 'P', 0, 1, 0, 0};
		put_u32(bytes + 8, size);
		bytes[12] = 2;
		bytes[16] = 0x40;
		struct str log = {.max = 0}, units = {.max = 0};
		enum err e = feed_all_sizes(span_of(bytes, 8 + size), MAX, &log, &units);
		ck_assert_int_eq(e, size <= MAX ? ERR_OK : ERR_TOO_LARGE);
		str_fini(&log);
		str_fini(&units);
	}
}
END_TEST

START_TEST(sasl_init_is_the_last_sasl_frame)
{
	/* sasl-init, then a sasl-response that nobody asked for, then AMQP. */
	check_feed(SASL_HEADER "0000000c02010000 00534145" "0000000c02010000 00534345"
		   AMQP_HEADER_HEX "0000000802000000", ERR_OK, NULL);
	check_feed(SASL_HEADER "0000000c02010000 00534145" "0000000802000000", ERR_PROTOCOL, NULL);
	struct amqp_tap_in t;
	struct amqp_tap_frame f;
	struct span in = hex(SASL_HEADER "0000000c02010000 00534145");
	struct span left = in;
	amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
	ck_assert_int_eq(amqp_tap_in_next(&t, &left, &f, NULL), ERR_OK);
	ck_assert(t.in_sasl);
	ck_assert_int_eq(amqp_tap_in_next(&t, &left, &f, NULL), ERR_OK);
	ck_assert(!t.in_sasl);
	ck_assert(f.is_sasl);
	ck_assert_uint_eq(f.performative, AMQP_SASL_INIT);
	amqp_tap_in_fini(&t);
	bytes_free(in);
}
END_TEST

/* ---- performatives ---------------------------------------------------- */

/* One frame on channel 3 with this body, whole. The frame's spans are valid
 * until the next call. */
static struct amqp_tap_frame one_frame_of(struct span body)
{
	static struct span kept;
	static struct amqp_tap_in t;
	bytes_free(kept);
	amqp_tap_in_fini(&t);
	struct str s = {.max = 0};
	uint8_t head[8] = {0, 0, 0, 0, 2, 0, 0, 3};
	put_u32(head, (uint32_t)body.n + 8);
	str_addn(&s, "AMQP\0\1\0", 8);
	str_addn(&s, head, 8);
	str_addn(&s, body.p, body.n);
	kept = prefix(str_span(&s), s.len);
	str_fini(&s);
	struct span left = kept;
	struct amqp_tap_frame f;
	amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
	ck_assert_int_eq(amqp_tap_in_next(&t, &left, &f, NULL), ERR_OK);
	ck_assert_int_eq(amqp_tap_in_next(&t, &left, &f, NULL), ERR_OK);
	ck_assert_uint_eq(f.channel, 3);
	ck_assert_int_eq(f.kind, AMQP_TAP_FRAME);
	return f;
}

static struct amqp_tap_frame one_frame(const char *body)
{
	struct span b = hex(body);
	struct amqp_tap_frame f = one_frame_of(b);
	bytes_free(b);
	return f;
}

START_TEST(transfer_fields_are_read)
{
	/* handle 5, id 256, tag, format, settled, more, mode, state, resume, aborted */
	struct amqp_tap_frame f = one_frame(
		"005314 c0190a 5205 7000000100 a00174 7080013700 41 41 40 00532445 42 41 ffff");
	ck_assert_uint_eq(f.performative, AMQP_TRANSFER);
	ck_assert_uint_eq(f.handle, 5);
	ck_assert(f.has_delivery_id);
	ck_assert_uint_eq(f.delivery_id, 256);
	ck_assert(f.has_format);
	ck_assert_uint_eq(f.message_format, AMQP_FORMAT_BATCH);
	ck_assert(f.more);
	ck_assert(f.aborted);

	/* list32 with only what is needed, and a payload that looks like fields */
	f = one_frame("005314 d0 00000005 00000001 43 43 43 4143");
	ck_assert_uint_eq(f.performative, AMQP_TRANSFER);
	ck_assert_uint_eq(f.handle, 0);
	ck_assert(!f.has_delivery_id && !f.has_format && !f.more && !f.aborted);

	/* long descriptor, nulls, booleans with an octet */
	f = one_frame("008000000000000000 14 c00a06 5201 40 40 43 5600 5601 40");
	ck_assert_uint_eq(f.performative, AMQP_TRANSFER);
	ck_assert(f.has_format);
	ck_assert_uint_eq(f.message_format, 0);
	ck_assert(f.more);

	/* descriptor as a symbol */
	f = one_frame("00a312616d71703a7472616e736665723a6c697374 c0020143");
	ck_assert_uint_eq(f.performative, AMQP_TRANSFER);
}
END_TEST

static const char *const unreadable[] = {
	"40", "00", "0053", "005314", "00531440", "00a30178c0020143",
	"00531445",		/* a transfer without handle */
	"005314c0020140",
	"005314c0020141",	/* a handle of another type */
	"005314c0050143",	/* list longer than the frame */
	"005314d0ffffffff0000000143",
	"005314c0030443 43",	/* more fields said than there are */
	"005314c00504 43 40 40 a0",
	"005314c0060643404040 41 5601",
	"00531245", "005312c0020140", "005312c0040254 0143", "005312c00502 a1017840",
	"0053ffc00100 4040", "008000000000000001 10 45",
};

START_TEST(unreadable_performative_is_zero)
{
	struct amqp_tap_frame f = one_frame(unreadable[_i]);
	if (strncmp(unreadable[_i], "0053ff", 6) == 0) {
		ck_assert_uint_eq(f.performative, 0xff);	/* read, though nobody knows it */
	} else {
		ck_assert_uint_eq(f.performative, 0);
	}
}
END_TEST

/* An attach with that role and these fields from offered-capabilities on, all in
 * hexadecimal. */
static struct amqp_tap_frame attach(const char *role, const char *fields)
{
	/* name "L", handle 7; modes, source, target, unsettled and three more */
	const char *const parts[] = {
		"a1014c 5207", role, "5000 5001 00532845 00532945 c10100 42 43 44", fields,
	};
	struct str s = {.max = 0};
	amqp_put_descriptor(&s, AMQP_ATTACH);
	size_t list = amqp_begin_list(&s);
	uint32_t count = 0;
	for (size_t i = 0; i < 4; i++) {
		struct span b = hex(parts[i]);
		struct rd r = rd_of(b);
		while (rd_left(&r) > 0) {
			(void)amqp_skip(&r);
			count++;
		}
		amqp_put_raw(&s, b);
		bytes_free(b);
	}
	amqp_end(&s, list, count);
	struct amqp_tap_frame f = one_frame_of(str_span(&s));
	str_fini(&s);
	return f;
}

START_TEST(attach_fields_are_read)
{
	struct amqp_tap_frame f = attach("41", "40 40 40");
	ck_assert_uint_eq(f.performative, AMQP_ATTACH);
	ck_assert(span_eq_str(f.link_name, "L"));
	ck_assert_uint_eq(f.handle, 7);
	ck_assert(f.peer_is_receiver);
	ck_assert_uint_eq(f.n_capabilities, 0);

	f = attach("42", "40 a30163 c10100");
	ck_assert(!f.peer_is_receiver);
	ck_assert_uint_eq(f.n_capabilities, 1);
	ck_assert(span_eq_str(f.capabilities[0], "c"));

	f = attach("5600", "a3016f e00602 a3 0161 0162");
	ck_assert(!f.peer_is_receiver);
	ck_assert_uint_eq(f.n_capabilities, 2);
	ck_assert(span_eq_str(f.capabilities[1], "b"));

	f = attach("41", "");
	ck_assert_uint_eq(f.performative, AMQP_ATTACH);
	ck_assert_uint_eq(f.n_capabilities, 0);
}
END_TEST

START_TEST(capabilities_are_limited)
{
	struct amqp_tap_frame f = attach("41", "40 e01609 a3 0161016201630164016501660167 01680169");
	ck_assert_uint_eq(f.performative, 0);	/* the array's size is wrong */
	f = attach("41", "40 e01409 a3 0161016201630164016501660167 01680169");
	ck_assert_uint_eq(f.performative, AMQP_ATTACH);
	ck_assert_uint_eq(f.n_capabilities, AMQP_TAP_CAPABILITIES);
	ck_assert(span_eq_str(f.capabilities[7], "h"));
	f = attach("41", "40 e00402 a1 0161");	/* not symbols */
	ck_assert_uint_eq(f.n_capabilities, 0);
}
END_TEST

START_TEST(open_max_frame_is_lowered)
{
	static const struct {
		const char *hex;
		const char *want;
	} rows[] = {
		{"005310 c00803 40 40 7000010000", "005310 c00803 40 40 700000ffe0"},
		{"005310 c00803 40 40 70ffffffff", "005310 c00803 40 40 70ffffffdf"},
		{"005310 c00803 40 40 7000000220", "005310 c00803 40 40 7000000200"},
		{"005310 c00803 40 40 700000021f", "005310 c00803 40 40 7000000200"},
		{"005310 c00803 40 40 7000000200", "005310 c00803 40 40 7000000200"},
		{"005310 c00803 40 40 7000000010", "005310 c00803 40 40 7000000010"},
		{"005310 c00503 40 40 5220", "005310 c00503 40 40 5220"},
		{"005310 c00403 40 40 40", "005310 c00403 40 40 40"},
		{"005310 c00402 a10161", "005310 c00402 a10161"},
		{"005310 45", "005310 45"},
		{"005310 d00000000f 00000004 a10161 a10162 7000001000 60ffff",
		 "005310 d00000000f 00000004 a10161 a10162 7000000fe0 60ffff"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct amqp_tap_frame f = one_frame(rows[i].hex);
		check_hex(span_of(f.bytes.p + 8, f.bytes.n - 8), rows[i].want);
	}
}
END_TEST

START_TEST(feeding_without_memory_fails)
{
	struct span in = hex(golden_pyamqp);
	for (long n = 1;; n++) {
		struct amqp_tap_in t;
		struct str log = {.max = 0}, units = {.max = 0};
		enum err e = ERR_OK;
		amqp_tap_in_init(&t, LIMIT_AMQP_FRAME);
		mem_fault_at(n);
		for (size_t at = 0; at < in.n && e == ERR_OK; at += 40) {
			struct span left = span_of(in.p + at, in.n - at < 40 ? in.n - at : 40);
			struct amqp_tap_frame f = {.kind = AMQP_TAP_EMPTY};
			while (e == ERR_OK && f.kind != AMQP_TAP_MORE) {
				e = amqp_tap_in_next(&t, &left, &f, NULL);
			}
		}
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		amqp_tap_in_fini(&t);
		str_fini(&log);
		str_fini(&units);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			ck_assert_int_gt(n, 1);
			break;
		}
	}
	bytes_free(in);
}
END_TEST

Suite *tap_in_suite(void)
{
	Suite *s = suite_create("amqp tap in");
	TCase *t = tcase_create("transcripts");
	tcase_add_loop_test(t, transcript_is_cut_into_units, 0, N_TRANSCRIPTS);
	tcase_add_loop_test(t, transcript_cut_short_wants_more, 0, N_TRANSCRIPTS);
	tcase_add_loop_test(t, flipped_byte_is_survived, 0, N_TRANSCRIPTS);
	tcase_add_test(t, deliveries_of_a_transcript_become_batches);
	tcase_add_test(t, whole_frames_are_not_copied);
	suite_add_tcase(s, t);
	t = tcase_create("units");
	tcase_add_test(t, headers_come_in_order);
	tcase_add_test(t, tls_header_is_named);
	tcase_add_test(t, impossible_frame_is_refused);
	tcase_add_test(t, empty_frame_is_a_heartbeat);
	tcase_add_test(t, frame_size_is_limited);
	tcase_add_test(t, sasl_init_is_the_last_sasl_frame);
	suite_add_tcase(s, t);
	t = tcase_create("performatives");
	tcase_add_test(t, transfer_fields_are_read);
	tcase_add_loop_test(t, unreadable_performative_is_zero, 0,
			    sizeof unreadable / sizeof unreadable[0]);
	tcase_add_test(t, attach_fields_are_read);
	tcase_add_test(t, capabilities_are_limited);
	tcase_add_test(t, open_max_frame_is_lowered);
	tcase_add_test(t, feeding_without_memory_fails);
	suite_add_tcase(s, t);
	return s;
}
