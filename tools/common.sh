# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The vhu founders
# shellcheck shell=bash

# What the scripts of this folder share. They set "program" to their name before reading it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=/usr/bin/python3

die()
{
	local status=$1
	shift
	echo "$program: $*" >&2
	exit "$status"
}

# Files that root made in the build folder belong to whoever owns the repository.
give_build_to_owner()
{
	[ "$(id -u)" != 0 ] || [ "$(stat -c %u "$root")" = 0 ] || [ ! -d "$root/build" ] ||
		chown -R --reference="$root" "$root/build"
}

# Configure a build folder unless it is configured, and build it. More words go to meson.
# Of two runs at the same time the second waits.
build_folder()
{
	local folder=$1 log=$1/build.log
	shift
	mkdir -p "$folder" || die 1 "cannot make the folder $folder"
	(
		flock 8
		if [ ! -f "$folder/build.ninja" ]; then
			meson setup "$folder" "$root" "$@" </dev/null >"$log" 2>&1 || {
				tail -n 15 "$log" >&2
				exit 1
			}
		fi
		ninja -C "$folder" </dev/null >"$log" 2>&1 || {
			grep -E 'error|FAILED|warning' "$log" | tail -n 15 >&2
			exit 1
		}
	) 8>"$folder/.lock" || die 1 "the build failed, see $log"
}
