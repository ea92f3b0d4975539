package install_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/test/env"
)

// TestHelmInstallsGridlatchOnARealNode lives through a release in a namespace of its own, in which the Job at the end
// really releases what is held.
func TestHelmInstallsGridlatchOnARealNode(t *testing.T) {
	c := env.Start(t, env.Nodes(0))
	c.Home = "carbon"
	n := c.Node(t)
	if err := n.Import(t.Context(), env.Image(t)); err != nil {
		t.Fatal(err)
	}
	const release, chart = "grid", "../../charts/gridlatch"
	helm := func(command string, args ...string) string {
		t.Helper()
		printed, err := c.Helm(t.Context(), command, args...)
		if err != nil {
			t.Fatal(err)
		}
		return printed
	}
	helm("install", release, chart, "--create-namespace", "--wait")
	if _, err := c.Kubectl(t.Context(), "label", "namespace", c.Home, "pod-security.kubernetes.io/enforce=restricted"); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitInstalled(t.Context()); err != nil {
		t.Fatal(err)
	}
	env.Story(t, c)

	held := env.HoldJob(t, c, 30*time.Minute)
	helm("upgrade", release, chart, "--reset-then-reuse-values", "--wait", "--set", "podAnnotations.upgraded=yes")
	held.AwaitHeld(t)
	helm("rollback", release, "1", "--wait")
	held.AwaitHeld(t)
	helm("uninstall", release, "--wait")
	held.CleanFrom = time.Time{} // it is released before
	held.AwaitCompletion(t)
	left, err := c.Kubectl(t.Context(), "get", "all,roles,rolebindings,serviceaccounts,secrets", "--namespace="+c.Home, "--output=name")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(left) {
		if !strings.HasPrefix(name, "pod/") && name != "serviceaccount/default" && name != "secret/gridlatch-ca" {
			t.Errorf("%s is left", name)
		}
	}
}
