package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Helm runs a command of Helm as the administrator, in the namespace of Gridlatch, and returns what it prints. The error
// has what it says on stderr.
func (c *Cluster) Helm(ctx context.Context, command string, args ...string) (string, error) {
	top, err := sourceTree()
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(top, "bin", "helm"), append([]string{command, "--namespace=" + c.namespace()}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// What Helm remembers about a server is kept by its address, which another cluster may have had before.
	home := filepath.Join(filepath.Dir(c.Kubeconfig), "helm")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	err = cmd.Run()
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w; run: make bin/helm", err)
	}
	if err != nil {
		err = fmt.Errorf("helm %s: %w: %s", command, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), err
}
