#include "auth/sas.h"

#include <stdio.h>

#include "base/mem.h"
#include "source.h"

#define SE "1700003600"
#define NS_HUB "amqps%3a%2f%2fns.servicebus.windows.net%2fhub"

static enum err check_at(const char *token, int64_t now_ms, struct auth_grant *g,
			 struct err_detail *d)
{
	*d = (struct err_detail){0};
	return auth_sas_check(&test_source, span_str(token), now_ms, g, d);
}

/* Fails the test unless the token is refused with a detail that begins so. */
static void refuse(const char *token, const char *begin)
{
	struct auth_grant g;
	struct err_detail d;
	memset(&g, 0x5a, sizeof g);
	ck_assert_msg(check_at(token, TEST_NOW_MS, &g, &d) == ERR_UNAUTHORIZED, "accepted: %s",
		      token);
	ck_assert_msg(strncmp(d.text, begin, strlen(begin)) == 0, "%s: %s", token, d.text);
	ck_assert_ptr_null(strstr(d.text, TEST_KEY));
	ck_assert_int_eq(((const uint8_t *)&g)[0], 0x5a);
}

/* Signed by an independent implementation, encoded as each SDK does it. */
static const struct {
	const char *token;
	const char *scope;
	const char *policy;
	const char *hub;
	const char *publisher;
	unsigned rights;
} vectors[] = {
	/* JavaScript: encodeURIComponent. */
	{"SharedAccessSignature sr=sb%3A%2F%2Flocalhost%3A5671%2FHub%2FConsumerGroups%2F%24Default"
	 "%2FPartitions%2F0&sig=UMFH5iJJ8xCLCMvbxKi169D9R2WO3nijrAee5JaIbvI%3D&se=" SE
	 "&skn=" TEST_ROOT,
	 "hub/consumergroups/$default/partitions/0", TEST_ROOT, "", "", 7},
	/* Go and Rust: sr lower-cased after escaping, sig not, skn as it is. */
	{"SharedAccessSignature sr=" NS_HUB
	 "&sig=VfLp4mr6vwQUF14qvh%2BJBsghyKzL%2F7atDuNhRlgoTvA%3D&se=" SE "&skn=" TEST_ROOT,
	 "hub", TEST_ROOT, "", "", 7},
	/* The signature of the same with lower-case escapes, and with a bare plus. */
	{"SharedAccessSignature sr=" NS_HUB
	 "&sig=VfLp4mr6vwQUF14qvh%2bJBsghyKzL%2f7atDuNhRlgoTvA%3d&se=" SE "&skn=" TEST_ROOT,
	 "hub", TEST_ROOT, "", "", 7},
	{"SharedAccessSignature sr=" NS_HUB
	 "&sig=VfLp4mr6vwQUF14qvh+JBsghyKzL/7atDuNhRlgoTvA=&se=" SE "&skn=" TEST_ROOT,
	 "hub", TEST_ROOT, "", "", 7},
	/* Python: quote_plus, skn encoded twice. */
	{"SharedAccessSignature sr=sb%3A%2F%2Fns.servicebus.windows.net%2Fhub"
	 "&sig=hXxR18%2BFK2in01bh35zrtk8GSzzvQWrvG8tGe8ktyWs%3D&se=" SE "&skn=send%2526listen",
	 "hub", "send&listen", "", "", AUTH_SEND | AUTH_LISTEN},
	/* .NET, by the secondary key of a policy of the hub. */
	{"SharedAccessSignature sr=" NS_HUB
	 "&sig=YZVJ2DNF%2f9hI0Z1dYbyl%2bVYKLPp2HTwpCXkeSlkiY%2bI%3d&se=" SE "&skn=hubrule",
	 "hub", "hubrule", "Hub", "", AUTH_SEND},
	/* A sample without a scheme, in another order, for a publisher. */
	{"sharedaccesssignature se=" SE "&skn=" TEST_ROOT
	 "&sig=vAZDH0ickEGuw5E%2bnd8F%2bYLTVKAi4cbPSMwfxwf4QG8%3d"
	 "&sr=ns.servicebus.windows.net/hub/publishers/dev1",
	 "hub/publishers/dev1", TEST_ROOT, "", "dev1", 7},
	{"SharedAccessSignature sr=sb%3A%2F%2Fh%2Fhub1"
	 "&sig=a5QHuIIiBXANzI6gkDvmDq%2fC%2bojA6Q6NimAB9f0WTUU%3d&se=" SE "&skn=" TEST_ROOT,
	 "hub1", TEST_ROOT, "", "", 7},
};

START_TEST(token_of_an_sdk_is_accepted)
{
	struct auth_grant g;
	struct err_detail d;
	ck_assert_msg(check_at(vectors[_i].token, TEST_NOW_MS, &g, &d) == ERR_OK, "%s", d.text);
	ck_assert_str_eq(g.scope, vectors[_i].scope);
	ck_assert_str_eq(g.policy, vectors[_i].policy);
	ck_assert_str_eq(g.policy_hub, vectors[_i].hub);
	ck_assert_str_eq(g.publisher, vectors[_i].publisher);
	ck_assert_uint_eq(g.rights, vectors[_i].rights);
	ck_assert_int_eq(g.expires_ms, (int64_t)TEST_SE * 1000);
}
END_TEST

/* Where the last digit of the signature stands: 4 of its 6 bits count, so
 * that texts with other idle bits mean the same signature. */
static size_t last_digit(const char *token)
{
	const char *sig = strstr(token, "sig=") + 4;
	const char *end = sig + strcspn(sig, "&");
	end -= end[-1] == '=' ? 1 : 3;
	return (size_t)(end - 1 - token);
}

START_TEST(each_changed_character_of_a_vector_is_refused)
{
	char token[512];
	const char *from = vectors[_i].token;
	size_t n = strlen(from);
	ck_assert_uint_lt(n, sizeof token);
	for (size_t i = 0; i < n; i++) {
		struct auth_grant g;
		struct err_detail d;
		memcpy(token, from, n + 1);
		token[i] = token[i] == 'Q' ? 'R' : 'Q';
		if (i != last_digit(from)) {
			ck_assert_msg(check_at(token, TEST_NOW_MS, &g, &d) == ERR_UNAUTHORIZED,
				      "%s", token);
		}
	}
}
END_TEST

START_TEST(each_prefix_of_a_token_is_refused)
{
	const char *from = vectors[0].token;
	for (size_t n = 0; n < strlen(from); n++) {
		struct auth_grant g;
		ck_assert_int_eq(auth_sas_check(&test_source, span_of(from, n), TEST_NOW_MS, &g,
						NULL), ERR_UNAUTHORIZED);
	}
}
END_TEST

START_TEST(own_tokens_are_accepted_for_both_keys)
{
	static const char *const resources[] = {"sb://localhost/Hub", "localhost/Hub", "Hub",
						"https://h:8080/Hub/publishers/p 1/messages"};
	static const char *const keys[] = {TEST_KEY, TEST_KEY2};
	for (int i = 0; i < 8; i++) {
		struct str s = {0};
		struct auth_grant g;
		struct err_detail d;
		ck_assert_int_eq(auth_sas_make(resources[i / 2], "hubrule", keys[i % 2], TEST_SE,
					       &s), ERR_OK);
		ck_assert_msg(check_at(s.p, TEST_NOW_MS, &g, &d) == ERR_OK, "%s: %s", s.p, d.text);
		ck_assert_str_eq(g.policy, "hubrule");
		ck_assert_str_eq(g.publisher, i / 2 == 3 ? "p 1" : "");
		str_fini(&s);
	}
}
END_TEST

START_TEST(made_token_is_the_known_one)
{
	struct str s = {0};
	ck_assert_int_eq(auth_sas_make("sb://localhost/hub", "send only", TEST_KEY, TEST_SE, &s),
			 ERR_OK);
	ck_assert_str_eq(s.p, "SharedAccessSignature sr=sb%3A%2F%2Flocalhost%2Fhub&sig=i4D8T%2BYdHFw"
			      "i79DJ%2B%2B27q%2BHA1qaGfjjKFkldPkQMy3c%3D&se=" SE "&skn=send%20only");
	str_fini(&s);
	ck_assert_int_eq(auth_sas_make("r", "p", TEST_KEY, -1, &s), ERR_INVALID);
	ck_assert_int_eq(auth_sas_make("r", "p", TEST_KEY, 1000000000000000, &s), ERR_INVALID);
	ck_assert_int_eq(auth_sas_make("r", "p", TEST_KEY, 999999999999999, &s), ERR_OK);
	str_fini(&s);
}
END_TEST

enum { MALFORMED_ROWS = 29 };

START_TEST(malformed_token_is_refused)
{
	static const char *const rows[] = {
		"",
		"SharedAccessSignature",
		"SharedAccessSignature ",
		"sr=hub&sig=YQ==&se=" SE "&skn=a",
		"Bearer sr=hub&sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=" SE,
		"SharedAccessSignature sr=hub&sig=YQ==&skn=a",
		"SharedAccessSignature sr=hub&se=" SE "&skn=a",
		"SharedAccessSignature sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=&sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=" SE "&skn=",
		"SharedAccessSignature sr=hub&sr=hub&sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=" SE "&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=" SE "&skn=a&skn=a",
		"SharedAccessSignature sr=hub&&sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=" SE "&skn=a&x",
		"SharedAccessSignature sr=hub&sig=YQ==&se=-1&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=+1&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=1e9&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=1700003600.5&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=0x10&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=1000000000000000&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ==&se=99999999999999999999999&skn=a",
		"SharedAccessSignature sr=hub%zz&sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub%00&sig=YQ==&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=YQ%3&se=" SE "&skn=a",
		"SharedAccessSignature sr=hub&sig=Y!==&se=" SE "&skn=a",
	};
	_Static_assert(sizeof rows / sizeof *rows == MALFORMED_ROWS, "every row is a test");
	refuse(rows[_i], "MalformedToken: ");
}
END_TEST

START_TEST(wrong_signature_is_refused)
{
	static const char *const rows[] = {"YQ==", "%3D", "YWJj",
					   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D",
					   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct test_token t = test_token_make("hub", rows[i], SE, TEST_ROOT, NULL);
		refuse(t.text, "InvalidSignature: The token has an invalid signature.");
	}
	struct test_token t = test_token_make("hub", NULL, SE, TEST_ROOT, "other key");
	refuse(t.text, "InvalidSignature: ");
	/* An unknown policy gives the same answer. */
	t = test_token_make("hub", NULL, SE, "nobody", TEST_KEY);
	refuse(t.text, "InvalidSignature: The token has an invalid signature.");
	/* The key is text, not the bytes its base64 stands for. */
	t = test_token_make("hub", NULL, SE, TEST_ROOT, "0123456789abcdef0123456789abcdef");
	refuse(t.text, "InvalidSignature: ");
}
END_TEST

START_TEST(empty_key_signs_nothing)
{
	/* The policy "shared" of the namespace has no secondary key. */
	refuse("SharedAccessSignature sr=hub&sig=gLkep2mhvNK%2BPVE%2FbCb6G31O3owqH9kHi7Zte3EseE8%3D"
	       "&se=" SE "&skn=shared",
	       "InvalidSignature: ");
	struct test_token t = test_token_make("hub", NULL, SE, "send&listen", "");
	refuse(t.text, "MalformedToken: ");
	t = test_token_make("hub", NULL, SE, "send%26listen", "");
	refuse(t.text, "InvalidSignature: ");
}
END_TEST

START_TEST(token_expires_at_se)
{
	struct auth_grant g;
	struct err_detail d;
	struct test_token t = test_token_make("hub", NULL, SE, TEST_ROOT, TEST_KEY);
	int64_t end = (int64_t)TEST_SE * 1000;
	ck_assert_int_eq(check_at(t.text, end - 1, &g, &d), ERR_OK);
	ck_assert_int_eq(check_at(t.text, end, &g, &d), ERR_UNAUTHORIZED);
	ck_assert_int_eq(strncmp(d.text, "ExpiredToken: ", 14), 0);
	ck_assert_ptr_nonnull(strstr(d.text, "2023-11-14T23:13:20.000Z"));
	t = test_token_make("hub", NULL, "0", TEST_ROOT, TEST_KEY);
	ck_assert_int_eq(check_at(t.text, TEST_NOW_MS, &g, &d), ERR_UNAUTHORIZED);
	ck_assert_int_eq(strncmp(d.text, "ExpiredToken: ", 14), 0);
	/* Who cannot sign learns nothing about the time. */
	t = test_token_make("hub", NULL, "1", TEST_ROOT, "other");
	refuse(t.text, "InvalidSignature: ");
	t = test_token_make("hub", NULL, "999999999999999", TEST_ROOT, TEST_KEY);
	ck_assert_int_eq(check_at(t.text, TEST_NOW_MS, &g, &d), ERR_OK);
	ck_assert_int_eq(g.expires_ms, 999999999999999000);
}
END_TEST

START_TEST(hub_policy_allows_only_its_hub)
{
	static const struct {
		const char *sr;
		bool ok;
	} rows[] = {
		{"sb%3a%2f%2fh%2fhub", true},		{"sb%3a%2f%2fh%2fHUB%2f", true},
		{"sb%3a%2f%2fh%2fhub%2fpartitions%2f0", true}, {"sb%3a%2f%2fh%2f", false},
		{"sb%3a%2f%2fh%2fhub2", false},		{"sb%3a%2f%2fh%2fother", false},
		{"ns.example.net", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct auth_grant g;
		struct err_detail d;
		struct test_token t = test_token_make(rows[i].sr, NULL, SE, "hubrule", TEST_KEY);
		ck_assert_msg((check_at(t.text, TEST_NOW_MS, &g, &d) == ERR_OK) == rows[i].ok,
			      "%s: %s", rows[i].sr, d.text);
	}
}
END_TEST

/* A source that gives a hub's policy for any path: the check itself must hold. */
static void find_any(void *ctx, struct span path, struct span name, auth_policy_fn *fn, void *arg)
{
	static const struct auth_policy p = {"rule", AUTH_SEND, TEST_KEY, TEST_KEY2};
	(void)ctx;
	(void)path;
	(void)name;
	(void)fn(arg, "hub", &p);
}

START_TEST(foreign_hub_policy_is_not_believed)
{
	const struct auth_source src = {.find = find_any};
	struct auth_grant g;
	struct test_token t = test_token_make("other", NULL, SE, "rule", TEST_KEY);
	ck_assert_int_eq(auth_sas_check(&src, span_str(t.text), TEST_NOW_MS, &g, NULL),
			 ERR_UNAUTHORIZED);
	t = test_token_make("hub", NULL, SE, "rule", TEST_KEY);
	ck_assert_int_eq(auth_sas_check(&src, span_str(t.text), TEST_NOW_MS, &g, NULL), ERR_OK);
}
END_TEST

START_TEST(same_name_in_two_places_is_told_apart_by_key)
{
	struct auth_grant g;
	struct err_detail d;
	struct test_token t = test_token_make("hub", NULL, SE, "shared", TEST_KEY);
	ck_assert_int_eq(check_at(t.text, TEST_NOW_MS, &g, &d), ERR_OK);
	ck_assert_uint_eq(g.rights, AUTH_LISTEN);
	ck_assert_str_eq(g.policy_hub, "");
	t = test_token_make("hub", NULL, SE, "shared", TEST_KEY2);
	ck_assert_int_eq(check_at(t.text, TEST_NOW_MS, &g, &d), ERR_OK);
	ck_assert_uint_eq(g.rights, AUTH_SEND);
	ck_assert_str_eq(g.policy_hub, "Hub");
}
END_TEST

START_TEST(unknown_fields_are_passed_over)
{
	struct auth_grant g;
	struct err_detail d;
	char text[1024];
	struct test_token t = test_token_make("hub", NULL, SE, TEST_ROOT, TEST_KEY);
	snprintf(text, sizeof text, "%.500s&x=1&y=", t.text);
	ck_assert_int_eq(check_at(text, TEST_NOW_MS, &g, &d), ERR_OK);
}
END_TEST

START_TEST(token_length_is_bounded)
{
	static char text[LIMIT_TOKEN + 2];
	struct test_token t = test_token_make("hub", NULL, SE, TEST_ROOT, TEST_KEY);
	for (int over = -1; over <= 1; over++) {
		size_t n = (size_t)(LIMIT_TOKEN + over);
		struct auth_grant g;
		struct err_detail d = {0};
		memset(text, 'x', sizeof text);
		snprintf(text, sizeof text, "%.500s&pad=", t.text);
		text[strlen(text)] = 'x';
		enum err e = auth_sas_check(&test_source, span_of(text, n), TEST_NOW_MS, &g, &d);
		ck_assert_int_eq(e, over <= 0 ? ERR_OK : ERR_UNAUTHORIZED);
		ck_assert_int_eq(strncmp(d.text, "MalformedToken: ", 16) == 0, over > 0);
	}
}
END_TEST

START_TEST(long_names_are_refused)
{
	char name[LIMIT_POLICY_NAME + 2];
	char sr[AUTH_SCOPE_MAX + 2];
	memset(name, 'a', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	struct test_token t = test_token_make("hub", NULL, SE, name, TEST_KEY);
	refuse(t.text, "InvalidSignature: ");
	memset(sr, 'a', sizeof sr - 1);
	sr[sizeof sr - 1] = '\0';
	t = test_token_make(sr, NULL, SE, TEST_ROOT, TEST_KEY);
	refuse(t.text, "MalformedToken: ");
	memcpy(sr, "hub/publishers/", 15);
	sr[15 + LIMIT_PUBLISHER_NAME + 1] = '\0';
	t = test_token_make(sr, NULL, SE, TEST_ROOT, TEST_KEY);
	refuse(t.text, "MalformedToken: ");
	sr[15 + LIMIT_PUBLISHER_NAME] = '\0';
	struct auth_grant g;
	struct err_detail d;
	t = test_token_make(sr, NULL, SE, TEST_ROOT, TEST_KEY);
	ck_assert_int_eq(check_at(t.text, TEST_NOW_MS, &g, &d), ERR_OK);
	ck_assert_uint_eq(strlen(g.publisher), LIMIT_PUBLISHER_NAME);
}
END_TEST

START_TEST(each_failed_allocation_is_reported)
{
	const char *token = vectors[0].token;
	for (long n = 1; n < 100; n++) {
		struct str s = {0};
		struct auth_grant g;
		mem_fault_at(n);
		enum err made = auth_sas_make("sb://host/hub", TEST_ROOT, TEST_KEY, TEST_SE, &s);
		enum err checked = auth_sas_check(&test_source, span_str(token), TEST_NOW_MS, &g,
						  NULL);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		str_fini(&s);
		if (!fired) {
			ck_assert_int_gt(n, 3);
			ck_assert_int_eq(made, ERR_OK);
			ck_assert_int_eq(checked, ERR_OK);
			return;
		}
		ck_assert_int_eq(made == ERR_NOMEM, checked == ERR_OK);
		ck_assert_int_eq(made == ERR_OK, checked == ERR_NOMEM);
	}
	ck_abort_msg("allocations without end");
}
END_TEST

Suite *sas_suite(void)
{
	Suite *s = suite_create("sas");
	TCase *t = tcase_create("sas");
	int rows = (int)(sizeof vectors / sizeof *vectors);
	tcase_add_loop_test(t, token_of_an_sdk_is_accepted, 0, rows);
	tcase_add_loop_test(t, each_changed_character_of_a_vector_is_refused, 0, rows);
	tcase_add_test(t, each_prefix_of_a_token_is_refused);
	tcase_add_test(t, own_tokens_are_accepted_for_both_keys);
	tcase_add_test(t, made_token_is_the_known_one);
	tcase_add_loop_test(t, malformed_token_is_refused, 0, MALFORMED_ROWS);
	tcase_add_test(t, wrong_signature_is_refused);
	tcase_add_test(t, empty_key_signs_nothing);
	tcase_add_test(t, token_expires_at_se);
	tcase_add_test(t, hub_policy_allows_only_its_hub);
	tcase_add_test(t, foreign_hub_policy_is_not_believed);
	tcase_add_test(t, same_name_in_two_places_is_told_apart_by_key);
	tcase_add_test(t, unknown_fields_are_passed_over);
	tcase_add_test(t, token_length_is_bounded);
	tcase_add_test(t, long_names_are_refused);
	tcase_add_test(t, each_failed_allocation_is_reported);
	suite_add_tcase(s, t);
	return s;
}
