#!/bin/sh
# Decides about each ref the way GitHub's rules do, with GitHub's own words as the ref's status. Git does the update of an accepted ref.
# Protocol: https://git-scm.com/docs/githooks#proc-receive

# Reads one packet into `line`; false at a flush packet.
read_packet() {
    length=$(dd bs=1 count=4 2>/dev/null)
    case "$length" in
        '' | 0000) return 1 ;;
    esac
    line=$(dd bs=1 count=$((0x$length - 4)) 2>/dev/null | tr '\000' '\n')
}

# Writes one packet with a line end.
write_packet() {
    printf '%04x%s\n' $((${#1} + 5)) "$1"
}

# The first workflow file that the new commits of `$1` touch.
touched_workflow() {
    git log --format= --name-only -m "$1" --not --all -- .github/workflows | head -n 1
}

# Prints why the update to `$2` of the ref `$3` is refused, or nothing.
refusal() {
    branch=${3#refs/heads/}
    if [ -f protected ] && grep -Fqx -- "$branch" protected; then
        printf 'error: GH006: Protected branch update failed for %s.\n' "$3" >&2
        printf 'error: Changes must be made through a pull request.\n' >&2
        printf 'protected branch hook declined'
        return
    fi
    case "$2" in
        *[!0]*) ;;
        *) return ;;
    esac
    [ -f workflows-allowed ] && return
    workflow=$(touched_workflow "$2")
    [ -z "$workflow" ] && return
    # The backquotes are meant as they are.
    # shellcheck disable=SC2016
    if [ "$SIMULATOR_TOKEN_KIND" = app ]; then
        printf 'refusing to allow a GitHub App to create or update workflow `%s` without `workflows` permission' "$workflow"
    else
        printf 'refusing to allow a Personal Access Token to create or update workflow `%s` without `workflow` scope' "$workflow"
    fi
}

while read_packet; do :; done
write_packet 'version=1'
printf '0000'

decisions=$(mktemp)
trap 'rm -f "$decisions"' EXIT
while read_packet; do
    # Old id, new id, ref: none of them can hold a space.
    # shellcheck disable=SC2086
    set -- $line
    reason=$(refusal "$1" "$2" "$3")
    if [ -n "$reason" ]; then
        write_packet "ng $3 $reason" >>"$decisions"
    else
        write_packet "ok $3" >>"$decisions"
        write_packet 'option fall-through' >>"$decisions"
    fi
done
cat "$decisions"
printf '0000'
