#!/bin/sh
# Copies the third-party modules that the page ships from the npm registry into webui/static/vendor, with their licences.
# Run it after changing a version in scripts/vendor/package.json (and `npm install --package-lock-only` there).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/webui/static/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$root/scripts/vendor/package.json" "$root/scripts/vendor/package-lock.json" "$work/"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent)
modules=$work/node_modules

rm -rf "$target"
mkdir -p "$target"

# Browsers resolve bare names only through an import map, which has to be inline; the policy of the page allows no
# inline script. So the one bare import (the hooks' of preact) becomes a relative one. Source maps are left out.
copy() {
    sed -e 's|from *"preact"|from"./preact.js"|g' -e '/^\/\/# sourceMappingURL=/d' -e 's|//# sourceMappingURL=.*$||' \
        "$modules/$1" > "$target/$2"
}
copy preact/dist/preact.mjs preact.js
copy preact/hooks/dist/hooks.mjs preact-hooks.js
copy htm/dist/htm.mjs htm.js
copy socket.io-client/dist/socket.io.esm.min.js socket.io.js
copy uplot/dist/uPlot.esm.js uplot.js
copy uplot/dist/uPlot.min.css uplot.css

# socket.io.js bundles engine.io-client, the two parsers and the emitter.
licence() {
    name=$1
    version=$(node -p "require('$modules/$name/package.json').version")
    echo "$name $version, licence: $(node -p "require('$modules/$name/package.json').license")"
    echo
    cat "$modules/$name"/LICENSE*
    echo
    echo "------------------------------------------------------------------------"
    echo
}
for name in preact htm socket.io-client engine.io-client engine.io-parser socket.io-parser @socket.io/component-emitter uplot; do
    licence "$name"
done > "$target/LICENSES.txt"

echo "vendored into $target:"
ls -l "$target"
