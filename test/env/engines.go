package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// engine makes a program of bin/engines/NAME, which acts as the cluster's administrator. An engine would go on without
// a cluster, as KEDA would: it is made to end with this process.
func (c *Cluster) engine(name string, args ...string) (*Program, error) {
	p, err := program(filepath.Join("engines", name), args...)
	if err != nil {
		return nil, err
	}
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	return p, nil
}

// installCRDs applies the CustomResourceDefinitions that were put beside bin/engines/NAME.
func (c *Cluster) installCRDs(ctx context.Context, name string) error {
	return c.installDefinitions(ctx, filepath.Join("engines", name))
}

// ensureNamespace makes a namespace if it is not there.
func (c *Cluster) ensureNamespace(ctx context.Context, name string) error {
	_, err := c.KubectlInput(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}", "apply", "-f", "-")
	return err
}

// port is the port of a base URL of a program.
func port(url string) string { return url[strings.LastIndex(url, ":")+1:] }

// engineFiles reads the manifests in a directory of bin/engines.
func engineFiles(dir string) (string, error) {
	root, err := sourceTree()
	if err != nil {
		return "", err
	}
	paths, err := filepath.Glob(filepath.Join(root, "bin", "engines", dir, "*.yaml"))
	if err == nil && len(paths) == 0 {
		err = errors.New("nothing is there")
	}
	var all strings.Builder
	for _, path := range paths {
		text, readErr := os.ReadFile(path)
		err = errors.Join(err, readErr)
		all.WriteString("---\n" + string(text) + "\n")
	}
	if err != nil {
		return "", fmt.Errorf("read bin/engines/%s (make bin/engines/mpi/mpi): %w", dir, err)
	}
	return all.String(), nil
}
