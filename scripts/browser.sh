#!/bin/sh
# See to a Chromium for the page's tests: the system's, else Playwright's own, else Debian's package where we are root.
set -eu
cd "$(dirname "$0")/.."
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
.venv/bin/python -c '
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    sys.exit(not pathlib.Path(p.chromium.executable_path).exists())
' 2>/dev/null && exit 0
echo "No Chromium found: fetching one for the page's tests ..."
if timeout 300 .venv/bin/playwright install chromium >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
    exit 0
fi
echo "Install Chromium (Debian, Ubuntu: apt install chromium), then run this again." >&2
exit 1
