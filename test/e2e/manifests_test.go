package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/test/env"
)

// TestBaseIsAdmittedAsItIs installs what a platform owner would: in a namespace
// that enforces the restricted pod security standard, both replicas are
// admitted and scheduled. The nodes are simulated, so they do nothing.
func TestBaseIsAdmittedAsItIs(t *testing.T) {
	c := env.Start(t, env.Nodes(2))
	if _, err := c.Kubectl(t.Context(), "apply", "--validate=strict", "-k", "../../manifests/base"); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: env.Namespace, Name: "gridlatch"}, &d); err != nil {
			return err
		}
		if d.Status.ReadyReplicas != 2 {
			return fmt.Errorf("deployment: %+v", d.Status)
		}
		return nil
	})
	// with nobody at the webhook's service, work is created all the same
	ns := namespace(t, c)
	create(t, c, pod(ns, "unheld", tolerant()))
	awaitScheduled(t, c, ns, 1, patience)
}

func TestTheCertManagerComponentServesMountedFiles(t *testing.T) {
	overlay := t.TempDir()
	base, err := filepath.Abs("../../manifests")
	if err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(overlay, base)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("resources: [%[1]s/base]\ncomponents: [%[1]s/components/cert-manager]\n", up)
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rendered, err := cluster.Kubectl(t.Context(), "kustomize", overlay)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"cert-manager.io/inject-ca-from: gridlatch-system/gridlatch", "--cert-dir=/certs", "mountPath: /certs",
		"secretName: gridlatch-serving\n", "kind: Certificate",
	} {
		if !strings.Contains(rendered, want) {
			t.Errorf("%q is not in it:\n%s", want, rendered)
		}
	}
}
