#ifndef TEST_UNIT_AUTH_SOURCE_H
#define TEST_UNIT_AUTH_SOURCE_H

/* A fixed set of policies, found as a real source finds them, and the suites
 * of this runner. */

#include <check.h>

#include "auth/policy.h"

#define TEST_KEY "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define TEST_KEY2 "c2Vjb25kYXJ5LWtleS1vZi10aGUtcG9saWN5LTAwMDE="
#define TEST_ROOT "RootManageSharedAccessKey"

/* The hard-coded tokens expire at TEST_SE; TEST_NOW_MS is an hour before. */
#define TEST_SE 1700003600
#define TEST_NOW_MS ((int64_t)1700000000000)

/* namespace: RootManageSharedAccessKey (manage; both keys)
 *            send&listen (send, listen; primary only)
 *            shared (listen; TEST_KEY)
 * Hub:       hubrule (send; both keys)  shared (send; TEST_KEY2)
 * The hub is called "Hub", as its owner typed it. */
extern const struct auth_source test_source;

/* Signs `resource` after encoding it as given, and checks nothing. */
struct test_token {
	char text[2 * LIMIT_TOKEN];
};
/* sr, sig and skn are put in as they are; sig is made over sr when NULL. */
struct test_token test_token_make(const char *sr, const char *sig, const char *se,
				  const char *skn, const char *key);

Suite *policy_suite(void);
Suite *path_suite(void);
Suite *grant_suite(void);
Suite *sas_suite(void);
Suite *password_suite(void);
Suite *connstr_suite(void);

#endif
