#!/bin/sh
# Writes down every ref that a push has changed, before the client is told so.
[ "$1" = committed ] && [ -n "$SIMULATOR_PUSH_LOG" ] || exit 0
while read -r old new ref; do
    printf '%s %s %s %s %s\n' "$SIMULATOR_REPOSITORY" "$SIMULATOR_LOGIN" "$old" "$new" "$ref" >>"$SIMULATOR_PUSH_LOG"
done
