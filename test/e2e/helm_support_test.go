package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

// A helm runs Helm in one cluster, with the chart of the test.
type helm struct {
	c     *env.Cluster
	chart string
}

const helmRelease = "grid"

// newHelm returns a Helm with the chart as it is, but for the webhooks: these are called at port of this machine.
func newHelm(t *testing.T, c *env.Cluster, port int) helm {
	t.Helper()
	h := helm{c: c, chart: filepath.Join(t.TempDir(), "gridlatch")}
	if err := os.CopyFS(h.chart, os.DirFS("../../charts/gridlatch")); err != nil {
		t.Fatal(err)
	}
	service := regexp.MustCompile(`service:\n +name: gridlatch\n +namespace: .*\n +path: (/.*)`)
	limit := regexp.MustCompile(`timeoutSeconds: 3\n`) // programs of tests share a busy machine
	changed := 0
	err := filepath.WalkDir(filepath.Join(h.chart, "templates"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed += len(service.FindAll(text, -1))
		text = service.ReplaceAll(text, []byte("url: https://localhost:"+strconv.Itoa(port)+"$1"))
		return os.WriteFile(path, limit.ReplaceAll(text, []byte("timeoutSeconds: 20\n")), 0o600)
	})
	if err != nil || changed == 0 {
		t.Fatalf("changed %d webhooks: %v", changed, err)
	}
	return h
}

// must runs a command of Helm that cannot fail, and returns what the command prints.
func (h helm) must(t *testing.T, command string, args ...string) string {
	t.Helper()
	printed, err := h.c.Helm(t.Context(), command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return printed
}
