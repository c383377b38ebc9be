#!/bin/sh
# Refuses a push by the first matching line "GLOB<TAB>MESSAGE" of the file `refuse` in the repository.
[ -f refuse ] || exit 0
tab=$(printf '\t')
while read -r _old _new ref; do
    while IFS="$tab" read -r glob message; do
        # The glob is left unquoted: it is a pattern.
        # shellcheck disable=SC2254
        case "$ref" in
            $glob)
                printf '%s\n' "$message" >&2
                exit 1
                ;;
        esac
    done <refuse
done
exit 0
