#ifndef GATEWAY_CLI_CLI_H
#define GATEWAY_CLI_CLI_H

/* The commands of the one binary. */

/* What `sluice serve` does; given by gateway/main.c so that the commands do not
 * know the server. argv are the words after "serve". */
typedef int cli_serve_fn(int argc, char **argv);

/* Dispatches argv (argv[0] = program). Exit status: 0 done, 1 failed, 2 usage. */
int cli_main(int argc, char **argv, cli_serve_fn *serve);

#endif
