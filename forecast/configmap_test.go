package forecast

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFromConfigMapFindsTheForecast(t *testing.T) {
	const one = `[{"timestamp":"2026-03-31T00:00:00Z","duration":5,"value":1}]`
	const two = `[{"timestamp":"2026-03-31T00:00:00Z","duration":5,"value":2}]`
	for name, tt := range map[string]struct {
		binaryData map[string][]byte
		data       map[string]string
		want       float64
		err        string
	}{
		"in binaryData":                {map[string][]byte{"data": []byte(one)}, nil, 1, ""},
		"in data":                      {nil, map[string]string{"data": one}, 1, ""},
		"in data, in base64":           {nil, map[string]string{"data": base64.StdEncoding.EncodeToString([]byte(one)) + "\n"}, 1, ""},
		"in both, binaryData wins":     {map[string][]byte{"data": []byte(one)}, map[string]string{"data": two}, 1, ""},
		"broken in binaryData":         {map[string][]byte{"data": []byte("[")}, map[string]string{"data": two}, 0, `key "data": forecast is broken at byte 1: unexpected end of JSON input`},
		"empty in data":                {nil, map[string]string{"data": ""}, 0, `key "data": forecast is broken at byte 0: unexpected end of JSON input`},
		"null in data is not base64":   {nil, map[string]string{"data": "null"}, 0, `key "data": forecast is "null", want a JSON array`},
		"truncated in base64":          {nil, map[string]string{"data": "W3sidA=="}, 0, `key "data": forecast is broken at byte 4: unexpected end of JSON input`},
		"nothing at all":               {nil, nil, 0, `key "data" is missing, there are: none`},
		"under another key":            {map[string][]byte{"forecast": []byte(one)}, map[string]string{"message": ""}, 0, `key "data" is missing, there are: ["forecast" "message"]`},
		"under none of very many keys": {nil, manyKeys(12), 0, `key "data" is missing, there are: ["k00" "k01" "k02" "k03" "k04" "k05" "k06" "k07" "k08" "k09"] and 2 more`},
	} {
		t.Run(name, func(t *testing.T) {
			document, err := FromConfigMap(tt.binaryData, tt.data, "data", t0)
			if tt.err != "" {
				if diff := cmp.Diff(tt.err, fmt.Sprint(err)); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := document.Series[""].At(t0); got != tt.want {
				t.Errorf("got intensity %v, want %v", got, tt.want)
			}
		})
	}
}

func manyKeys(n int) map[string]string {
	keys := map[string]string{}
	for i := range n {
		keys[fmt.Sprintf("k%02d", i)] = ""
	}
	return keys
}

func TestFromConfigMapKnowsWhenItWasIssued(t *testing.T) {
	binaryData := map[string][]byte{"data": []byte(`[
		{"location":"A","timestamp":"2026-03-31T00:00:00Z","duration":5,"value":1},
		{"location":"B","timestamp":"2026-03-30T23:55:00Z","duration":5,"value":1}]`)}
	for name, tt := range map[string]struct {
		heartbeat, message string
		written, want      time.Time
	}{
		"written, without a heartbeat":         {"", "", at(9), at(9)},
		"written in another zone":              {"", "", at(9).In(time.FixedZone("", 3600)), at(9)},
		"an unreadable heartbeat":              {"yesterday", "", at(9), at(9)},
		"an earlier heartbeat":                 {"2026-03-31 00:03:00 +0000 UTC", "", at(9), at(3)},
		"a heartbeat as Go prints now":         {"2026-03-31 00:03:00.5 +0000 UTC m=+10.861427049", "", at(9), at(3).Add(time.Second / 2)},
		"a heartbeat of a pod in Berlin":       {"2026-03-31 02:03:00 +0200 CEST m=+10.86", "", at(9), at(3)},
		"a heartbeat of a zone without a name": {"2026-03-31 03:03:00 +0300 +03", "", at(9), at(3)},
		"a heartbeat in RFC 3339":              {"2026-03-31T00:03:00Z", "", at(9), at(3)},
		"a heartbeat from the future":          {"2026-03-31 00:12:00 +0000 UTC", "", at(9), at(9)},
		"old data published again":             {"2026-03-31 00:03:00 +0000 UTC", "500 Internal Server Error", at(9), at(-5)},
		"old data written before it starts":    {"", "500 Internal Server Error", at(-7), at(-7)},
		"a blank message":                      {"", " ", at(9), at(9)},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string]string{"lastHeartbeatTime": tt.heartbeat, "message": tt.message}
			document, err := FromConfigMap(binaryData, data, "data", tt.written)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, document.Issued); diff != "" || document.Issued.Location() != time.UTC {
				t.Error(document.Issued, diff)
			}
		})
	}
}
