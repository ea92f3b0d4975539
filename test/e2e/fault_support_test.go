package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// dirtyThenCleanUnseen writes a forecast with a clean time in an hour, and
// does not wait for a controller to know it.
func dirtyThenCleanUnseen(t *testing.T, c *env.Cluster) {
	t.Helper()
	start := time.Now().Add(-time.Minute)
	if err := c.Forecast(t.Context(), env.Elements(location, start, 5*time.Minute, 430, 120, 400)...); err != nil {
		t.Fatal(err)
	}
}

func countHeld(ctx context.Context, c *env.Cluster, namespace string) (int, error) {
	var pods corev1.PodList
	err := c.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.StateLabel: v1alpha1.StateHeld})
	return len(pods.Items), err
}

func awaitGatedWithin(t *testing.T, c *env.Cluster, namespace string, want int, timeout time.Duration) {
	t.Helper()
	env.Eventually(t, timeout, func(ctx context.Context) error {
		pods, err := podsOf(ctx, c, namespace)
		if err != nil {
			return err
		}
		held, others := 0, []string(nil)
		for _, p := range pods {
			if state := p.Labels[v1alpha1.StateLabel]; state == v1alpha1.StateHeld {
				held++
			} else if len(others) < 3 {
				others = append(others, fmt.Sprintf("%s is %q since %s: %s", p.Name, state, p.CreationTimestamp.Format(time.TimeOnly), p.Annotations[v1alpha1.ReasonAnnotation]))
			}
		}
		if held != want {
			return fmt.Errorf("%d of %d pods are held, want %d; of the others: %q", held, len(pods), want, others)
		}
		return nil
	})
}

// writeCertificate puts a new certificate for localhost into dir, as
// cert-manager's mount would, and returns it.
func writeCertificate(t *testing.T, dir string) []byte {
	t.Helper()
	certificate, err := env.WriteCertificate(dir, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// trust makes the API server trust a certificate of the webhook.
func trust(t *testing.T, c *env.Cluster, ca []byte) {
	t.Helper()
	var patch []map[string]any
	for i := range 2 {
		patch = append(patch, map[string]any{"op": "add", "path": fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), "value": ca})
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	config := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "gridlatch"}}
	if err := c.Client.Patch(t.Context(), config, client.RawPatch(types.JSONPatchType, raw)); err != nil {
		t.Fatal(err)
	}
}

// awaitServed waits until the webhook presents a certificate.
func awaitServed(t *testing.T, port int, want []byte, path string) {
	t.Helper()
	block, _ := pem.Decode(want)
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // compared below
		connection, err := dialer.DialContext(ctx, "tcp", "localhost:"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		defer connection.Close()
		served := connection.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
		if string(served) != string(block.Bytes) {
			return fmt.Errorf("%s is not served yet", path)
		}
		return nil
	})
}
