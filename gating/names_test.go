package gating

import (
	"os"
	"strings"
	"testing"
)

// TestWhatWeWriteIsKnownAtAdmission looks for every key that only Gridlatch writes
// in what has the API server strip it, and refuse it.
func TestWhatWeWriteIsKnownAtAdmission(t *testing.T) {
	for _, name := range []string{"webhook.yaml", "admission.yaml"} {
		text, err := os.ReadFile("../manifests/base/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range append(written(), State) {
			if !strings.Contains(string(text), "'"+key+"'") {
				t.Errorf("%s does not know %s", name, key)
			}
		}
	}
}
