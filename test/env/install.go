package env

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// ImageName is the whole name of the image that Image builds.
const ImageName = "docker.io/library/gridlatch:dev"

// Image builds the image gridlatch:dev with `make image`, once for each process, and returns the path of an archive.
func Image(t testing.TB) string {
	t.Helper()
	path, err := buildImage()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildImage = sync.OnceValues(func() (string, error) {
	root, err := sourceTree()
	if err != nil {
		return "", err
	}
	archive := filepath.Join(root, "bin", "gridlatch.tar")
	// Two packages that test at the same time must not write the same file.
	command := exec.Command("flock", archive+".lock", "make", "--no-print-directory", "image", "ARCHIVE="+archive)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make image: %w: %s", err, output)
	}
	return archive, nil
})

// InstallIn gives the node the image, installs Gridlatch into the cluster as a user does, with components, and returns when
// all its Deployments run and the API server reaches the webhook through its Service.
func (c *Cluster) InstallIn(ctx context.Context, n *Node, components ...string) error {
	image, err := buildImage()
	if err != nil {
		return err
	}
	if err := n.Import(ctx, image); err != nil {
		return err
	}
	if err := c.Apply(ctx, "resources: [MANIFESTS/base]\n"+Components(components...)); err != nil {
		return err
	}
	return c.AwaitInstalled(ctx)
}

// Apply applies a kustomization, in which MANIFESTS is ours, as a user does.
func (c *Cluster) Apply(ctx context.Context, kustomization string) error {
	return inKustomization(kustomization, func(dir string) error {
		_, err := c.Kubectl(ctx, "apply", "-k", dir)
		return err
	})
}

// Delete deletes what Apply has applied, as README.md says, and returns when it is gone.
func (c *Cluster) Delete(ctx context.Context, kustomization string) error {
	return inKustomization(kustomization, func(dir string) error {
		_, err := c.Kubectl(ctx, "delete", "--ignore-not-found", "-k", dir)
		return err
	})
}

// AwaitInstalled returns when all Deployments of Gridlatch run and the API server reaches the webhook through its Service.
func (c *Cluster) AwaitInstalled(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "rollout", "status", "deployment", "--namespace="+c.namespace(), "--timeout=2m")
	if err != nil {
		pods, _ := c.Kubectl(ctx, "describe", "pods", "--namespace="+c.namespace()) // for the failure's sake only
		return errors.Join(err, fmt.Errorf("the pods are\n%s", pods))
	}
	return c.AwaitWebhook(ctx)
}
