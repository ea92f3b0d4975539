package chart

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	manifests = "../../../manifests"
	charts    = "../../../charts/gridlatch"
)

var update = flag.Bool("update", false, "write the generated part of the chart")

func TestTheChartIsMadeFromTheManifests(t *testing.T) {
	want, err := Generate(manifests, charts)
	if err != nil {
		t.Fatal(err)
	}
	templates, err := filepath.Glob(filepath.Join(charts, "templates", "manifests", "*"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, path := range append(templates, filepath.Join(charts, "values.schema.json")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(charts, path)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(text)
	}
	if *update {
		write(t, want, got)
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("charts/gridlatch is not what the manifests say; make generate writes it anew (-want +got):\n%s", diff)
	}
}

// write writes the files of a chart, and removes those that are no more.
func write(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name := range got {
		if _, ok := want[name]; !ok {
			if err := os.Remove(filepath.Join(charts, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range want {
		path := filepath.Join(charts, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
