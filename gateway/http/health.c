/* Health, metrics, and what this server is. */

#include <inttypes.h>
#include <microhttpd.h>

#include "base/metrics.h"
#include "gateway/http/http_priv.h"
#include "gateway/http/json.h"

/* The API's description, as the file beside this one. */
__asm__(".section .rodata\n"
	".global http_openapi_text\n"
	".global http_openapi_end\n"
	"http_openapi_text:\n"
	".incbin \"gateway/http/openapi.json\"\n"
	"http_openapi_end:\n"
	".previous\n");
extern const char http_openapi_text[];
extern const char http_openapi_end[];

bool http_health_live(struct http_request *r)
{
	str_add(&r->reply, "{\"status\":\"live\"}\n");
	http_request_reply(r, MHD_HTTP_OK);
	return true;
}

bool http_health_ready(struct http_request *r)
{
	bool ready = atomic_load(&r->front->ready);
	str_printf(&r->reply, "{\"status\":\"%s\"}\n", ready ? "ready" : "not ready");
	http_request_reply(r, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE);
	return true;
}

bool http_health_emulator(struct http_request *r)
{
	str_add(&r->reply, "{\"status\":\"healthy\",\"message\":\"Service is healthy.\"}\n");
	http_request_reply(r, MHD_HTTP_OK);
	return true;
}

bool http_metrics(struct http_request *r)
{
	metrics_render(&r->reply);
	core_metrics_render(r->front->core, &r->reply);
	http_request_reply(r, MHD_HTTP_OK);
	r->content_type = "text/plain; version=0.0.4; charset=utf-8";
	return true;
}

bool http_openapi(struct http_request *r)
{
	str_addn(&r->reply, http_openapi_text, (size_t)(http_openapi_end - http_openapi_text));
	http_request_reply(r, MHD_HTTP_OK);
	return true;
}

bool http_info(struct http_request *r)
{
	str_add(&r->reply, "{\"version\":");
	http_json_put(&r->reply, span_str(SLUICE_VERSION));
	str_printf(&r->reply, ",\"node\":%" PRIu64 ",\"host\":", r->front->node_id);
	http_json_put(&r->reply, span_str(core_host(r->front->core)));
	str_add(&r->reply, "}\n");
	http_request_reply(r, MHD_HTTP_OK);
	return true;
}
