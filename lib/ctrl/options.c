/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctrl/offers.h"
#include "ctrl/options.h"
#include "obs/error.h"

#define MTU_MIN 68
#define MODE_MAX 0777
#define RECONNECT_MAX_MS 3600000
/** (uid_t)-1 and (gid_t)-1 mean "leave alone" to the kernel. */
#define ID_MAX (UINT32_MAX - 1)

void
vhu_port_options_init(struct vhu_port_options *options)
{
	*options = (struct vhu_port_options){
		.role = VHU_ROLE_SERVER,
		.queue_pairs = 1,
		.offers = VHU_OFFERS_DEFAULT,
		.socket_uid = -1,
		.socket_gid = -1,
		.reconnect_min_ms = 1,
		.reconnect_max_ms = 1000,
	};
}

/* The comma separates parameters in telemetry, the blank words in logs. */
static bool
is_name_character(char c)
{
	return isalnum((unsigned char)c) || (c != '\0' && strchr("._-:+@", c) != NULL);
}

static int
check_path(const char *path)
{
	if (path == NULL || path[0] == '\0')
		return vhu_error(EINVAL, "no socket path is given: set vhu_port_options.path");
	if (strlen(path) >= VHU_PATH_SIZE)
		return vhu_error(ENAMETOOLONG,
			"socket path of %zu bytes is too long: at most %d are allowed",
			strlen(path), VHU_PATH_SIZE - 1);
	if (path[strlen(path) - 1] == '/')
		return vhu_error(
			EINVAL, "socket path '%s' ends in '/': name a file in a directory", path);
	return 0;
}

static int
check_name(const char *name)
{
	if (name == NULL)
		return 0;
	if (name[0] == '\0' || strlen(name) >= VHU_NAME_SIZE)
		return vhu_error(EINVAL, "port name of %zu bytes: 1 to %d are allowed",
			strlen(name), VHU_NAME_SIZE - 1);
	for (const char *c = name; *c != '\0'; c++) {
		if (!is_name_character(*c))
			return vhu_error(EINVAL,
				"port name '%s': only letters, digits and . _ - : + @ are allowed",
				name);
	}
	return 0;
}

static int
check_socket(const struct vhu_port_options *options)
{
	if (options->role != VHU_ROLE_SERVER && options->role != VHU_ROLE_CLIENT)
		return vhu_error(EINVAL,
			"role %d is unknown: VHU_ROLE_SERVER (%d) and VHU_ROLE_CLIENT (%d) "
			"are allowed",
			(int)options->role, VHU_ROLE_SERVER, VHU_ROLE_CLIENT);
	if (options->socket_mode > MODE_MAX)
		return vhu_error(EINVAL, "socket mode 0%o: 0 to 0%o are allowed",
			options->socket_mode, MODE_MAX);
	if (options->socket_uid < -1 || options->socket_uid > ID_MAX)
		return vhu_error(EINVAL,
			"socket owner %lld: 0 to %u are allowed, -1 leaves it alone",
			(long long)options->socket_uid, ID_MAX);
	if (options->socket_gid < -1 || options->socket_gid > ID_MAX)
		return vhu_error(EINVAL,
			"socket group %lld: 0 to %u are allowed, -1 leaves it alone",
			(long long)options->socket_gid, ID_MAX);
	if (options->reconnect_min_ms < 1 || options->reconnect_max_ms > RECONNECT_MAX_MS ||
			options->reconnect_min_ms > options->reconnect_max_ms)
		return vhu_error(EINVAL,
			"reconnect pauses of %u to %u ms: the first must be at least 1, "
			"the last not less than it and at most %d",
			options->reconnect_min_ms, options->reconnect_max_ms, RECONNECT_MAX_MS);
	return 0;
}

int
vhu_options_check(const struct vhu_port_options *options)
{
	int error = check_path(options->path);

	if (error == 0)
		error = check_name(options->name);
	if (error == 0)
		error = check_socket(options);
	if (error != 0)
		return error;
	if (options->queue_pairs < 1 || options->queue_pairs > VHU_MAX_QUEUE_PAIRS)
		return vhu_error(EINVAL, "%u queue pairs: 1 to %d are allowed",
			options->queue_pairs, VHU_MAX_QUEUE_PAIRS);
	if (options->mtu != 0 && options->mtu < MTU_MIN)
		return vhu_error(EINVAL, "MTU of %u bytes: %d to %d are allowed, 0 offers none",
			options->mtu, MTU_MIN, UINT16_MAX);
	return vhu_offers_check(options);
}

void
vhu_options_name(const struct vhu_port_options *options, char name[VHU_NAME_SIZE])
{
	const char *from = options->name;

	if (from == NULL) {
		const char *slash = strrchr(options->path, '/');

		from = slash != NULL ? slash + 1 : options->path;
	}
	snprintf(name, VHU_NAME_SIZE, "%s", from);
	for (char *c = name; *c != '\0'; c++) {
		if (!is_name_character(*c))
			*c = '_';
	}
}
