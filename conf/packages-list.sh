#!/bin/bash
# packages-list.sh GROUP...: the packages of these groups of conf/packages, one a line.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$here/../tests/support/lib.sh"

if [ $# = 0 ] || [ "$1" = --help ]; then
    echo "usage: conf/packages-list.sh GROUP..."
    echo "groups: $(sed -n 's/^\[\(.*\)\]$/\1/p' "$here/packages" | paste -sd ' ')"
    exit "$(($# == 0 ? 2 : 0))"
fi
packages "$@"
