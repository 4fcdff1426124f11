/* The one binary: commands in gateway/cli, the daemon in gateway/server.c. */

#include <stdio.h>

#include "gateway/cli/cli.h"
#include "gateway/config.h"
#include "gateway/server.h"

static int serve(int argc, char **argv)
{
	struct config config;
	struct err_detail d = {""};
	bool print = false;
	enum err e = config_load(argc, argv, &config, &print, &d);
	if (e != ERR_OK) {
		fprintf(stderr, "sluice serve: %s\n", d.text);
		return config_exit_status(e);
	}
	int status = 0;
	if (print) {
		config_print(&config, stdout);
	} else {
		status = server_run(&config);
	}
	config_fini(&config);
	return status;
}

int main(int argc, char **argv)
{
	return cli_main(argc, argv, serve);
}
