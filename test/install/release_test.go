package install_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gridlatch/gridlatch/test/env"
)

// TestANodePullsTheRelease installs a release as a user does. The test in packaging makes the release,
// keeps a registry running, and runs this test.
func TestANodePullsTheRelease(t *testing.T) {
	dist := os.Getenv("GRIDLATCH_DIST")
	if dist == "" {
		t.Skip("GRIDLATCH_DIST names no release; make test-release runs this test")
	}
	text, err := os.ReadFile(filepath.Join(dist, "image.txt"))
	if err != nil {
		t.Fatal(err)
	}
	image := strings.TrimSpace(string(text))
	registry, _, _ := strings.Cut(image, "/")
	c := env.Start(t, env.Nodes(0))
	n := c.Node(t, registry)

	if _, err := c.Kubectl(t.Context(), "apply", "--filename", filepath.Join(dist, "install.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitInstalled(t.Context()); err != nil {
		t.Fatal(err)
	}
	images, err := n.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(images, image) {
		t.Errorf("the node has the images %q, want %s", images, image)
	}
	env.Story(t, c)
}
