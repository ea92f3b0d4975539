package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
)

func TestVersionPrints(t *testing.T) {
	t.Run("one line for people", func(t *testing.T) {
		code, stdout, stderr := call(t, nil, "version")
		if code != 0 || !strings.HasPrefix(stdout, "kubectl gridlatch ") || !strings.Contains(stdout, runtime.Version()) {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
	})
	t.Run("JSON for programs", func(t *testing.T) {
		_, stdout, _ := call(t, nil, "version", "-o", "json")
		got := map[string]string{}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%v: %s", err, stdout)
		}
		if got["version"] == "" || got["goVersion"] != runtime.Version() || got["platform"] != runtime.GOOS+"/"+runtime.GOARCH {
			t.Errorf("version %v, want the version, the Go and the platform of this test", got)
		}
	})
	t.Run("and refuses what it does not know", func(t *testing.T) {
		for _, args := range [][]string{{"version", "-o", "wide"}, {"version", "client"}} {
			if code, _, stderr := call(t, nil, args...); code != exitUsage {
				t.Errorf("%q: exit code %d, want %d: %s", args, code, exitUsage, stderr)
			}
		}
	})
}
