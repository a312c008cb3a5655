#!/bin/sh
# Tells how much room the disk has: a worker in shell. See rungate.toml beside this file.
#
# A worker reads one line of JSON and writes lines of JSON. A shell has no JSON of its own; `printf` is enough to write
# what you know the shape of, and `jq` is the better choice as soon as a text could hold quotes.
set -eu

# The whole task is one line: {"run_id":…,"params":{…},"inputs":{"count":{"n":3,"sum":6}}}. `inputs` holds the output of
# each worker that rungate.toml names in `requires`. With jq: sum=$(printf '%s' "$task" | jq '.inputs.count.sum').
read -r task
sum=$(printf '%s\n' "$task" | sed -n 's/.*"sum":\([0-9]*\).*/\1/p')

# Any line that is no message is a line of the log, and so is what goes to standard error.
echo "looking at $(pwd)"
printf '{"type":"progress","percent":50,"message":"asking df"}\n'

free=$(df -Pk . | awk 'NR == 2 { print $4 }')

# An exit code other than 0 fails the run; the last line of standard error tells why.
if [ -z "$free" ]; then
    echo "df tells nothing about this folder" >&2
    exit 1
fi

# The last `result` is the worker's output. Without one it is null.
printf '{"type":"result","output":{"free_kib":%s,"sum_of_count":%s}}\n' "$free" "${sum:-0}"
