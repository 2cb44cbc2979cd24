/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 The vhu founders
 */

/*
 * An event device for kernels without uinput: preloaded into vhost-user-input, it answers for any
 * descriptor what evdev asks a device (linux/input.h), as a keyboard with the keys A and B. What is
 * read from the descriptor are the events: the test writes them into a pipe with a name.
 */

#include <linux/input.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char name[] = "a keyboard of two keys";

static void
set_bit(unsigned char *bits, unsigned int size, unsigned int bit)
{
	if (bit / 8 < size)
		bits[bit / 8] |= (unsigned char)(1u << bit % 8);
}

/* What EVIOCG... number @p what answers, into @p size bytes. @return how many, as evdev does. */
static int
answer(unsigned int what, void *to, unsigned int size)
{
	memset(to, 0, size);
	if (what == _IOC_NR(EVIOCGVERSION)) {
		*(int *)to = EV_VERSION;
		return 0;
	}
	if (what == _IOC_NR(EVIOCGID)) {
		*(struct input_id *)to = (struct input_id){ .bustype = BUS_VIRTUAL, .vendor = 1,
			.product = 2, .version = 3 };
		return 0;
	}
	if (what == _IOC_NR(EVIOCGNAME(0))) {
		strncpy(to, name, size - 1);
		return (int)(size < sizeof(name) ? size : sizeof(name));
	}
	if (what == _IOC_NR(EVIOCGBIT(0, 0))) {
		set_bit(to, size, EV_SYN);
		set_bit(to, size, EV_KEY);
	}
	if (what == _IOC_NR(EVIOCGBIT(EV_KEY, 0))) {
		set_bit(to, size, KEY_A);
		set_bit(to, size, KEY_B);
	}
	return (int)size;
}

int
ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (_IOC_TYPE(request) != 'E')
		return (int)syscall(SYS_ioctl, fd, request, argument);
	if (_IOC_DIR(request) != _IOC_READ)
		return 0; /* EVIOCGRAB */
	return answer(_IOC_NR(request), argument, _IOC_SIZE(request));
}
