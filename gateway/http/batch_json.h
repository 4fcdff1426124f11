#ifndef GATEWAY_HTTP_BATCH_JSON_H
#define GATEWAY_HTTP_BATCH_JSON_H

/* From a request's body to a stored batch.
 *
 * application/vnd.microsoft.servicebus.json is an array of
 *   {"Body": value,                       string: its bytes; else its compact JSON
 *    "IsBodyBase64": bool,                the Body string is base64 of the bytes
 *    "BrokerProperties": {"PartitionKey": string},
 *    "UserProperties": {name: string | number | bool | null}}
 * Body is required, other members are passed over. All events go to one
 * partition, so all keys are equal; all or nothing. Pure; any thread. */

#include "base/bytes.h"
#include "base/err.h"

struct http_events {
	struct buf *batch;	/* one reference; unsealed RecordBatch, then the key */
	uint32_t batch_len;
	uint32_t key_len;	/* partition key at batch->data + batch_len */
	uint32_t events;
};

/* One event: the whole body, after encoded sections. `key` n = 0: none.
 * ERR_TOO_LARGE, ERR_NOMEM. */
enum err http_events_single(struct span body, struct span sections, struct span key,
			    struct http_events *out, struct err_detail *d) MUST_CHECK;
/* `forced_key` (publishers; n = 0: none) stands in for whatever the items say.
 * ERR_INVALID with the item's number, from 0, or line and column;
 * ERR_TOO_LARGE, ERR_NOMEM. */
enum err http_events_batch(struct span body, struct span forced_key, struct http_events *out,
			   struct err_detail *d) MUST_CHECK;

#endif
