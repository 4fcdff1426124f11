/* Replays inputs without a fuzzing engine: every file named on the command
 * line, and every file in a directory named there, goes through the target. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger than any input a decoder takes whole: 2 * LIMIT_ENTRY. */
enum { INPUT_MAX = 6 << 20, PATH_ROOM = 4096 };

static unsigned long replayed;

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		return 1;
	}
	uint8_t *room = malloc(INPUT_MAX);
	size_t n = room != NULL ? fread(room, 1, INPUT_MAX, f) : 0;
	int failed = room == NULL || ferror(f) != 0 || n == INPUT_MAX;
	fclose(f);
	/* An exact copy, so that a read past the end is seen. */
	uint8_t *data = failed ? NULL : malloc(n != 0 ? n : 1);
	if (data == NULL) {
		fprintf(stderr, "%s: cannot be read, or is too large\n", path);
		free(room);
		return 1;
	}
	for (size_t i = 0; i < n; i++) {
		data[i] = room[i];
	}
	free(room);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	replayed++;
	return 0;
}

static int replay_dir(const char *path)
{
	DIR *dir = opendir(path);
	if (dir == NULL) {
		perror(path);
		return 1;
	}
	int failed = 0;
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		char file[PATH_ROOM];
		if (e->d_name[0] == '.') {
			continue;
		}
		int n = snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		failed |= n < 0 || n >= PATH_ROOM ? 1 : replay_file(file);
	}
	closedir(dir);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;
	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (stat(argv[i], &st) != 0) {
			perror(argv[i]);
			failed = 1;
		} else {
			failed |= S_ISDIR(st.st_mode) ? replay_dir(argv[i]) : replay_file(argv[i]);
		}
	}
	printf("%s: %lu inputs replayed\n", argv[0], replayed);
	return failed != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
