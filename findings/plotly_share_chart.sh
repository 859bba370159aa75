#!/usr/bin/env bash
# plotly 7.1.0: a page that is written to stand alone has a button that posts its data to a server of plotly's.
#
# Figure.write_html and plotly.io.to_html document a self-contained page, and take the address of plotly's cloud out of
# its configuration "if showSendToCloud is False", which they suppose where it is not given. plotly.js 4.1.1 inside
# the page supposes the opposite: showSendToCloud is true and plotlyServerURL https://cloud.plotly.com/newchart
# unless they are given. So the mode bar of every page has "Share chart...", which earlier versions had only where it
# was asked for. config={"showSendToCloud": False} takes it away. Seen with Python 3.11; the script fails where this
# changes, and with a chromium on the PATH it looks for the button itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet plotly==7.1.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import re

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

figure = go.Figure(go.Scatter(y=[1, 2]))
figure.write_html("default.html")
figure.write_html("told.html", config={"showSendToCloud": False})
library = get_plotlyjs()
page = open("default.html", encoding="utf-8").read().replace(library, "")
print(len(library), "bytes of plotly.js; the page itself says of the cloud:", "Cloud" in page or "cloud" in page)
assert "showSendToCloud" not in page and "cloud.plotly.com" not in page
for default in ('showSendToCloud:{valType:"boolean",dflt:!0', 'plotlyServerURL:{valType:"string",dflt:"https://cloud.plotly.com/newchart"'):
    print(default)
    assert default in re.sub(r"\s+", "", library).replace("dflt:true", "dflt:!0")
PYTHON
if command -v chromium > /dev/null; then
    for page in default told; do
        buttons=$(chromium --headless --no-sandbox --disable-gpu --user-data-dir="$folder/profile" \
            --virtual-time-budget=5000 --dump-dom "file://$folder/$page.html" 2> /dev/null |
            { grep -o 'data-title="Share chart[^"]*"' || true; } | wc -l)
        echo "$page: $buttons share buttons"
        [ "$buttons" = "$([ $page = default ] && echo 1 || echo 0)" ]
    done
fi
