#include "gateway/found.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"

enum { PARTITIONS_DEFAULT = 4 };

static void nothing(struct msg *m)
{
	(void)m;
}

/* Runs one catalogue command and waits for it. */
static enum err command_wait(struct store *s, struct store_command *op, struct err_detail *d)
{
	struct mailbox reply;
	mailbox_init(&reply, NULL, NULL);
	op->reply_to = &reply;
	op->done = nothing;
	store_command(s, op);
	struct msg *m = mailbox_wait(&reply, INT64_MAX);
	msg_run_all(m);
	mailbox_fini(&reply);
	if (op->err != ERR_OK) {
		return err_set(d, op->err, "%s",
			       op->detail.text[0] != '\0' ? op->detail.text : err_text(op->err));
	}
	return ERR_OK;
}

static enum err make_root_policy(struct store *s, struct err_detail *d)
{
	struct store_command *op = MEM_NEW(struct store_command);
	if (op == NULL) {
		return ERR_NOMEM;
	}
	op->command.op = CATALOG_POLICY_PUT;
	struct catalog_policy *p = &op->command.policy;
	snprintf(p->name, sizeof p->name, "%s", CORE_ROOT_POLICY);
	p->rights = AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE;
	auth_key_make(p->primary);
	auth_key_make(p->secondary);
	op->command.must_be_new = true;
	enum err e = command_wait(s, op, d);
	crypto_wipe(op, sizeof *op);
	mem_free(op);
	return e;
}

static enum err make_hub(struct store *s, const struct config *c, const struct config_hub *want,
			 bool exists, struct err_detail *d)
{
	struct store_command *op = MEM_NEW(struct store_command);
	if (op == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	if (!exists) {
		op->command.op = CATALOG_HUB_CREATE;
		snprintf(op->command.hub, sizeof op->command.hub, "%s", want->name);
		op->command.partitions = want->partitions != 0 ? want->partitions : PARTITIONS_DEFAULT;
		op->command.has_retention = c->default_retention_ms != 0;
		op->command.retention_ms = (int64_t)c->default_retention_ms;
		e = command_wait(s, op, d);
		if (e == ERR_OK) {
			log_info("HUB-CREATED", "hub=%s partitions=%u", want->name,
				 op->command.partitions);
		}
	}
	for (size_t i = 0; i < want->n_groups && e == ERR_OK; i++) {
		*op = (struct store_command){.command = {.op = CATALOG_GROUP_CREATE}};
		snprintf(op->command.hub, sizeof op->command.hub, "%s", want->name);
		snprintf(op->command.group, sizeof op->command.group, "%s", want->groups[i]);
		e = command_wait(s, op, d);
		e = e == ERR_EXISTS ? ERR_OK : e;
	}
	mem_free(op);
	return e;
}

enum err found_namespace(struct store *s, const struct config *c, struct err_detail *d)
{
	const struct catalog *cat = store_catalog(s);
	enum err e = ERR_OK;
	if (cat->n_policies == 0) {
		e = make_root_policy(s, d);
	}
	for (size_t i = 0; i < c->n_hubs && e == ERR_OK; i++) {
		bool exists = catalog_hub_find(cat, span_str(c->hubs[i].name)) != NULL;
		e = make_hub(s, c, &c->hubs[i], exists, d);
		if (e != ERR_OK) {
			err_wrap(d, "hub %s", c->hubs[i].name);
		}
	}
	catalog_drop(&cat);
	return e;
}

/* Fills in the change; false: the settings are as they were at the last start. */
static bool units_change(const struct catalog_units *now, const struct config *c,
			 struct catalog_command *cmd)
{
	/* All are 0 as long as none was applied, as are the settings' defaults. */
	cmd->op = CATALOG_UNITS_SET;
	cmd->units_by = CATALOG_UNITS_BY_SETTINGS;
	cmd->has_units = c->throughput_units != now->settings_units;
	cmd->has_inflate_max = c->auto_inflate_max != now->settings_inflate_max;
	cmd->has_deflate_after = c->auto_deflate_after_ms != now->settings_deflate_after_ms;
	cmd->units = (struct catalog_units){
		.units = c->throughput_units,
		.inflate_max = c->auto_inflate_max,
		.deflate_after_ms = c->auto_deflate_after_ms,
		.settings_units = c->throughput_units,
		.settings_inflate_max = c->auto_inflate_max,
		.settings_deflate_after_ms = c->auto_deflate_after_ms,
	};
	return cmd->has_units || cmd->has_inflate_max || cmd->has_deflate_after;
}

enum err found_units(struct store *s, const struct config *c, struct err_detail *d)
{
	const struct catalog *cat = store_catalog(s);
	struct catalog_units was = cat->units;
	catalog_drop(&cat);
	struct store_command *op = MEM_NEW(struct store_command);
	if (op == NULL) {
		return err_set(d, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
	enum err e = ERR_OK;
	if (units_change(&was, c, &op->command)) {
		e = command_wait(s, op, d);
		if (e == ERR_OK) {
			cat = store_catalog(s);
			const struct catalog_units *now = &cat->units;
			log_info("UNITS-SET", "units=%u was=%u max=%u deflate_after_ms=%lld by=settings",
				 now->units, was.units, now->inflate_max,
				 (long long)now->deflate_after_ms);
			catalog_drop(&cat);
		} else {
			err_wrap(d, "throughput units");
		}
	}
	mem_free(op);
	return e;
}

enum err found_write_file(const char *dir, const char *name, const char *text, size_t n,
			  struct err_detail *d)
{
	char path[LIMIT_PATH];
	char tmp[LIMIT_PATH];
	int a = snprintf(path, sizeof path, "%s/%s", dir, name);
	int b = snprintf(tmp, sizeof tmp, "%s/%s.new", dir, name);
	if (a < 0 || b < 0 || (size_t)b >= sizeof tmp) {
		return err_set(d, ERR_INVALID, "%s: the path is too long", dir);
	}
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		return err_set(d, ERR_IO, "cannot write %s: %s", tmp, strerror(errno));
	}
	bool ok = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
	int saved = errno;
	close(fd);
	if (!ok || rename(tmp, path) != 0) {
		saved = ok ? errno : saved;
		unlink(tmp);
		return err_set(d, ERR_IO, "cannot write %s: %s", path, strerror(saved));
	}
	return ERR_OK;
}

/* Policy names are printable ASCII without quotes only by their own rules, so
 * they are escaped all the same. */
static void add_json_string(struct str *s, const char *text)
{
	str_add(s, "\"");
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\') {
			str_add(s, "\\");
		}
		str_addn(s, text, 1);
	}
	str_add(s, "\"");
}

enum err found_export_keys(struct store *s, const char *host, struct err_detail *d)
{
	struct str out = {0};
	const struct catalog *cat = store_catalog(s);
	str_add(&out, "{\"host\":");
	add_json_string(&out, host);
	str_add(&out, ",\"policies\":[");
	for (uint32_t i = 0; i < cat->n_policies; i++) {
		const struct catalog_policy *p = &cat->policies[i];
		str_printf(&out, "%s\n  {\"name\":", i != 0 ? "," : "");
		add_json_string(&out, p->name);
		str_printf(&out, ",\"rights\":[%s%s%s]", p->rights & AUTH_SEND ? "\"send\"" : "",
			   p->rights & AUTH_LISTEN ? (p->rights & AUTH_SEND ? ",\"listen\"" : "\"listen\"")
						   : "",
			   p->rights & AUTH_MANAGE ? ",\"manage\"" : "");
		str_add(&out, ",\"primary\":");
		add_json_string(&out, p->primary);
		str_add(&out, ",\"secondary\":");
		add_json_string(&out, p->secondary);
		str_add(&out, "}");
	}
	catalog_drop(&cat);
	str_add(&out, "\n]}\n");
	enum err e = out.bad ? ERR_NOMEM
			     : found_write_file(store_dir(s), "keys", out.p, out.len, d);
	if (out.p != NULL) {
		crypto_wipe(out.p, out.len);
	}
	str_fini(&out);
	return e;
}
