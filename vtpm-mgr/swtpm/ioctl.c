/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * swtpm_ioctl: says one thing on a control channel, and prints what comes back in the words of swtpm's own. State blobs
 * are QEMU's business: they are sealed, and good for nothing elsewhere.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vtpm-mgr/swtpm/channel.h"
#include "vtpm-mgr/swtpm/front.h"

enum { OPT_UNIX = 256, OPT_STOP, OPT_INFO, OPT_VERSION, OPT_HELP, OPT_OTHER_WAY, OPT_BLOB };

static const struct option options[] = {
	{ "unix", required_argument, NULL, OPT_UNIX },
	{ "stop", no_argument, NULL, OPT_STOP },
	{ "info", required_argument, NULL, OPT_INFO },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "tcp", required_argument, NULL, OPT_OTHER_WAY },
	{ "tpm-device", required_argument, NULL, OPT_OTHER_WAY },
	{ "save", required_argument, NULL, OPT_BLOB },
	{ "load", required_argument, NULL, OPT_BLOB },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"usage: swtpm_ioctl --unix PATH COMMAND\n"
	"  -c          capabilities               -e          tpmEstablished bit\n"
	"  -i          power the TPM on           -r LOC      reset that bit, at a locality\n"
	"  --stop      power the TPM off          -v          store volatile state\n"
	"  -s          shut it down               -C          cancel the command in hand\n"
	"  -l LOC      locality, 0 to 4           -h DATA     hash, as a D-RTM event; - reads standard input\n"
	"  -g          configuration flags        -b SIZE     buffer size; 0 asks\n"
	"  --info N    information\n"
	"  --version, --help\n";

struct reply {
	uint32_t result;
	struct buf body;
	uint8_t mem[CHANNEL_REPLY_MAX];
};

struct command {
	int opt;
	uint32_t code;
	const char *name; /* as swtpm_ioctl's errors name it */
	uint64_t max;	  /* of its argument; 0: none */
	size_t width;	  /* of its argument on the channel, in bytes; 0: none */
	int (*print)(struct buf *body);
};

/* --- what comes back --- */

static int print_capability(struct buf *b)
{
	uint32_t v;

	if (buf_get_u32be(b, &v))
		return ERR_PROTO;
	printf("ptm capability is 0x%x\n", v);
	return 0;
}

static int print_established(struct buf *b)
{
	uint8_t v;

	if (buf_get_u8(b, &v))
		return ERR_PROTO;
	printf("tpmEstablished is %u\n", v);
	return 0;
}

static int print_config(struct buf *b)
{
	uint32_t v;

	if (buf_get_u32be(b, &v))
		return ERR_PROTO;
	printf("ptm configuration flags: 0x%x\n", v);
	return 0;
}

static int print_buffer_size(struct buf *b)
{
	uint32_t now, min, max;

	if (buf_get_u32be(b, &now) || buf_get_u32be(b, &min) || buf_get_u32be(b, &max))
		return ERR_PROTO;
	printf("TPM buffersize: %u\nmin: %u, max: %u\n", now, min, max);
	return 0;
}

static int print_info(struct buf *b)
{
	uint32_t total, len;
	const uint8_t *text;

	if (buf_get_u32be(b, &total) || buf_get_u32be(b, &len) || buf_get_view(b, len, &text))
		return ERR_PROTO;
	for (uint32_t i = 0; i < len && text[i]; i++)
		putchar(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
	putchar('\n');
	return 0;
}

static const struct command commands[] = {
	{ 'c', CHANNEL_GET_CAPABILITY, "PTM_GET_CAPABILITY", 0, 0, print_capability },
	{ 'i', CHANNEL_INIT, "PTM_INIT", 0, 4, NULL },
	{ OPT_STOP, CHANNEL_STOP, "PTM_STOP", 0, 0, NULL },
	{ 's', CHANNEL_SHUTDOWN, "PTM_SHUTDOWN", 0, 0, NULL },
	{ 'e', CHANNEL_GET_TPMESTABLISHED, "PTM_GET_TPMESTABLISHED", 0, 0, print_established },
	{ 'r', CHANNEL_RESET_TPMESTABLISHED, "PTM_RESET_TPMESTABLISHED", 4, 1, NULL },
	{ 'v', CHANNEL_STORE_VOLATILE, "PTM_STORE_VOLATILE", 0, 0, NULL },
	{ 'C', CHANNEL_CANCEL_TPM_CMD, "PTM_CANCEL_TPM_CMD", 0, 0, NULL },
	{ 'l', CHANNEL_SET_LOCALITY, "PTM_SET_LOCALITY", 4, 1, NULL },
	{ 'h', CHANNEL_HASH_START, "PTM_HASH_START", 0, 0, NULL },
	{ 'g', CHANNEL_GET_CONFIG, "PTM_GET_CONFIG", 0, 0, print_config },
	{ 'b', CHANNEL_SET_BUFFERSIZE, "PTM_SET_BUFFERSIZE", UINT32_MAX, 4, print_buffer_size },
	{ OPT_INFO, CHANNEL_GET_INFO, "PTM_GET_INFO", INT64_MAX, 16, print_info },
};

/* --- the channel --- */

static int dial(const char *path, int *sock)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	*sock = -1;
	if (strlen(path) >= sizeof(sa.sun_path))
		return say_error("--unix: the path is too long");
	memcpy(sa.sun_path, path, strlen(path));
	*sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*sock < 0 || connect(*sock, (struct sockaddr *)&sa, sizeof(sa)))
		return say_error("%s: %s", path, strerror(errno));
	return 0;
}

/* A reply is sent in one piece, GET_INFO's too; an error is its first word alone. ERR_CLOSED: hung up. */
static int exchange(int sock, const struct buf *request, struct reply *r)
{
	ssize_t n;

	if (send(sock, request->data, request->len, MSG_NOSIGNAL) != (ssize_t)request->len)
		return ERR_CLOSED;
	while ((n = recv(sock, r->mem, sizeof(r->mem), 0)) < 0 && errno == EINTR)
		;
	if (n <= 0)
		return ERR_CLOSED;
	buf_wrap(&r->body, r->mem, (size_t)n);
	return buf_get_u32be(&r->body, &r->result) ? ERR_PROTO : 0;
}

static int request_build(struct buf *b, const struct command *c, uint64_t value)
{
	if (buf_put_u32be(b, c->code))
		return ERR_RANGE;
	if (c->code == CHANNEL_INIT)
		return buf_put_u32be(b, CHANNEL_INIT_DELETE_VOLATILE);
	if (c->width == 1)
		return buf_put_u8(b, (uint8_t)value);
	if (c->width == 4)
		return buf_put_u32be(b, (uint32_t)value);
	if (c->width == 16) /* u64 flags, u32 offset, u32 */
		return buf_put_u64be(b, value) || buf_put_u64be(b, 0) ? ERR_RANGE : 0;
	return 0;
}

/* Says one thing; name is for errors. Returns the exit status. */
static int talk(int sock, const struct command *c, const struct buf *request, struct reply *r)
{
	int err = exchange(sock, request, r);

	if (err == ERR_CLOSED && c->code == CHANNEL_SHUTDOWN)
		return 0; /* it was on its way out already */
	if (err)
		return say_error("%s: %s", c->name,
				 err == ERR_CLOSED ? "hung up: the TPM is not to be had; its log says why" : err_text(err));
	if (r->result)
		return say_error("TPM result from %s: 0x%x", c->name, r->result);
	return 0;
}

static int run(int sock, const struct command *c, uint64_t value)
{
	uint8_t mem[64];
	struct reply r;
	struct buf b;
	int status;

	buf_init(&b, mem, sizeof(mem));
	if (request_build(&b, c, value))
		return say_error("%s cannot be said", c->name);
	status = talk(sock, c, &b, &r);
	if (!status && c->print && c->print(&r.body))
		status = say_error("the reply to %s is too short", c->name);
	return status;
}

/* --- hashing: start, data, end --- */

static int hash_part(int sock, const void *p, size_t n)
{
	static const struct command data = { .code = CHANNEL_HASH_DATA, .name = "PTM_HASH_DATA" };
	uint8_t mem[2 * CHANNEL_WORD + CHANNEL_HASH_MAX];
	struct reply r;
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u32be(&b, data.code) || buf_put_u32be(&b, (uint32_t)n) || buf_put_bytes(&b, p, n))
		return say_error("too much to hash at once");
	return talk(sock, &data, &b, &r);
}

static int hash_data(int sock, const char *text)
{
	uint8_t part[CHANNEL_HASH_MAX];
	size_t left = strlen(text), n;
	int status = 0;

	if (strcmp(text, "-") != 0) {
		for (; !status && left > 0; left -= n, text += n) {
			n = left < sizeof(part) ? left : sizeof(part);
			status = hash_part(sock, text, n);
		}
		return status;
	}
	while (!status && (n = fread(part, 1, sizeof(part), stdin)) > 0)
		status = hash_part(sock, part, n);
	return !status && ferror(stdin) ? say_error("standard input: %s", strerror(errno)) : status;
}

static int hash(int sock, const struct command *start, const char *text)
{
	static const struct command end = { .code = CHANNEL_HASH_END, .name = "PTM_HASH_END" };
	int status = run(sock, start, 0);

	if (!status)
		status = hash_data(sock, text);
	return status ? status : run(sock, &end, 0);
}

/* --- the command line --- */

static const struct command *find(int opt)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].opt == opt)
			return &commands[i];
	return NULL;
}

static int refuse(int opt)
{
	if (opt == OPT_OTHER_WAY)
		return say_error("--tcp and --tpm-device are not offered: there are unix sockets alone");
	if (opt == OPT_BLOB)
		return say_error("--save and --load are not offered: what QEMU saves is sealed, and for QEMU alone");
	return say_error("an option is not known, or has no value; see swtpm_ioctl --help");
}

static int perform(const char *path, const struct command *c, const char *argument)
{
	/* As swtpm_ioctl has it: 0x and 0 say other bases. */
	char *rest = NULL;
	uint64_t value = 0;
	int sock, status;

	if (c->max) {
		errno = 0;
		value = strtoull(argument, &rest, 0);
		if (errno || rest == argument || *rest || argument[0] == '-' || value > c->max)
			return say_error("\"%.64s\" is no number that %s takes", argument, c->name);
	}
	status = dial(path, &sock);
	if (!status)
		status = c->code == CHANNEL_HASH_START ? hash(sock, c, argument) : run(sock, c, value);
	fd_close(&sock);
	return status;
}

int ioctl_main(int argc, char **argv)
{
	const struct command *c = NULL;
	const char *path = NULL, *argument = "";
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "cisevCgr:l:h:b:", options, NULL)) != -1) {
		if (opt == OPT_VERSION || opt == OPT_HELP)
			return fputs(opt == OPT_HELP ? usage : "TPM emulator control tool version " SWTPM_VERSION ", by vtpm-swtpm\n",
				     stdout) < 0;
		if (opt == OPT_UNIX) {
			path = optarg;
			continue;
		}
		if (!find(opt))
			return refuse(opt);
		if (c)
			return say_error("one command at a time");
		c = find(opt);
		argument = optarg ? optarg : "";
	}
	if (optind < argc)
		return say_error("\"%.64s\" is one argument too many", argv[optind]);
	if (!path || !c)
		return say_error("%s is missing; see swtpm_ioctl --help", path ? "a command" : "--unix PATH");
	return perform(path, c, argument);
}
