#ifndef TEST_UNIT_KAFKA_FRONT_FAULTS_H
#define TEST_UNIT_KAFKA_FRONT_FAULTS_H

/* What may happen to any request: an allocation fails, or the connection goes
 * away while operations are out. Nothing may leak or be touched too late, which
 * the sanitizers see. */

#include "test/unit/kafka_front/fix.h"

/* The request is made again and again; in the n-th round the n-th allocation of
 * the loop's thread fails. */
void faults_each_allocation(struct kafka_fix *f, int16_t key, int16_t version, const void *body);
/* The connection goes at once, and once after what came back within a moment. */
void faults_gone(struct kafka_fix *f, int16_t key, int16_t version, const void *body);

#define TEXT(text) ((struct kafka_string){.s = span_str(text)})
#define NONE ((struct kafka_string){.is_null = true})
#define ALL_RIGHTS (AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE)

Suite *metadata_suite(void);
Suite *kafka_groups_suite(void);
Suite *admin_suite(void);
Suite *settings_suite(void);
Suite *paced_suite(void);
Suite *delete_records_suite(void);

#endif
