#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders

# The first process of the guest: loads the drivers, then runs each line that arrives on the serial
# console as a command and says how it ended, so that the host never has to guess or to wait.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/ TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
echo 1 >/proc/sys/kernel/printk

while read -r module; do
	insmod "/modules/$module.ko" || echo "@@trouble cannot load module $module"
done </modules/order

exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
ip link set lo up
echo "@@ready $(uname -r)"
while read -r number command; do
	eval "$command" </dev/null
	echo "@@done $number $?"
done
poweroff -f
