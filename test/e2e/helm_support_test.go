package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

// A helm runs Helm in one cluster, with the release and the namespace of the test.
type helm struct {
	c     *env.Cluster
	chart string
	dir   string // of what Helm remembers
}

const helmRelease = "grid"

// newHelm returns a Helm with the chart as it is, but for the webhooks: these are called at port of this machine.
func newHelm(t *testing.T, c *env.Cluster, port int) helm {
	t.Helper()
	h := helm{c: c, chart: filepath.Join(t.TempDir(), "gridlatch"), dir: t.TempDir()}
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

// run runs a command of Helm, and returns what it prints.
func (h helm) run(ctx context.Context, command string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "../../bin/helm", append([]string{command, "--namespace=" + h.c.Home}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "KUBECONFIG="+h.c.Kubeconfig, "HELM_CACHE_HOME="+h.dir, "HELM_CONFIG_HOME="+h.dir, "HELM_DATA_HOME="+h.dir,
		"HOME="+h.dir) // where Helm remembers what an API server knows
	err := cmd.Run()
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w; run: make bin/helm", err)
	}
	if err != nil {
		err = fmt.Errorf("helm %s: %w: %s", command, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), err
}

// must is run for what cannot fail.
func (h helm) must(t *testing.T, command string, args ...string) string {
	t.Helper()
	printed, err := h.run(t.Context(), command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return printed
}
