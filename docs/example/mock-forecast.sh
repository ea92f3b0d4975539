#!/usr/bin/env bash
# Prints the ConfigMap of a forecast that begins now, to try Gridlatch on a cluster that has no
# forecast. The values are those of forecast.json from its first morning on.
#   docs/example/mock-forecast.sh | kubectl apply -f -
# Each value holds for an hour, or for as many minutes as the argument says. With 1, the cleanest
# time is in 7 minutes.
set -euo pipefail
minutes=${1:-60}
[[ $minutes =~ ^[1-9][0-9]{0,2}$ ]] || { echo "mock-forecast.sh: '$minutes': want a number of minutes, such as 60" >&2; exit 2; }

# date is that of GNU, or else that of BSD.
stamp() { date -u -d "@$1" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -r "$1" +%Y-%m-%dT%H:%M:%SZ; }

start=$(($(date +%s) / 60 * 60))
cat <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata:
  name: carbon-intensity
  namespace: kube-system
data:
  data: |
YAML
before='    ['
while read -r value; do
  printf '%s{"location": "EXAMPLE", "timestamp": "%s", "duration": %s, "value": %s}' "$before" "$(stamp "$start")" "$minutes" "$value"
  before=$',\n     '
  start=$((start + minutes * 60))
done < <(grep -o '"value": [0-9.]*' "$(dirname "$0")/forecast.json" | cut -d ' ' -f 2 | tail -n +11)
echo ']'
