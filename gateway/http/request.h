#ifndef GATEWAY_HTTP_REQUEST_H
#define GATEWAY_HTTP_REQUEST_H

/* libmicrohttpd's callbacks for one request. On its threads only. */

#include <microhttpd.h>

enum MHD_Result http_request_on(void *cls, struct MHD_Connection *conn, const char *url,
				const char *method, const char *version, const char *data,
				size_t *size, void **context);
void http_request_on_end(void *cls, struct MHD_Connection *conn, void **context,
			 enum MHD_RequestTerminationCode code);

#endif
