package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// suspendAfterGridlatch has the API server call a webhook for the Jobs of a namespace after
// Gridlatch's, which suspends them and makes more changes, by the names of the Jobs. The API server
// then calls Gridlatch's webhook again.
func suspendAfterGridlatch(t *testing.T, ns string, changes map[string]string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kind := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Allowed: true, PatchType: &kind,
			Patch: []byte(`[{"op":"add","path":"/spec/suspend","value":true}` + changes[review.Request.Name] + `]`),
		}
		_ = json.NewEncoder(w).Encode(review) // the API server would tell
	}))
	t.Cleanup(server.Close)
	fail, none, scope := registrationv1.Fail, registrationv1.SideEffectClassNone, registrationv1.NamespacedScope
	create(t, cluster, &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "z-" + ns},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: "suspend.example.com",
			ClientConfig: registrationv1.WebhookClientConfig{
				URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{"batch"}, APIVersions: []string{"v1"}, Resources: []string{"jobs"}, Scope: &scope},
			}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: ns}},
			FailurePolicy:           &fail,
			SideEffects:             &none,
			AdmissionReviewVersions: []string{"v1"},
		}},
	})
	t.Cleanup(func() {
		left := &registrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "z-" + ns}}
		if err := cluster.Client.Delete(context.WithoutCancel(t.Context()), left); err != nil {
			t.Errorf("other tests are told of their Jobs by the webhook of this one: %v", err)
		}
	})
}

func TestTheSecondPassOfARequestUndoesNothing(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	const inQueue, ask = `,{"op":"add","path":"/metadata/labels/kueue.x-k8s.io~1queue-name","value":"team"}`, `,{"op":"replace","path":"/metadata/annotations/gridlatch.dev~1`
	suspendAfterGridlatch(t, ns, map[string]string{
		"queued": inQueue, "gated": inQueue,
		"unwilling": ask + `delay-tolerant","value":"false"}`,
		"late":      `,{"op":"add","path":"/metadata/annotations/gridlatch.dev~1deadline","value":"1m"}`,
	})
	jobs := map[string]*batchv1.Job{}
	for _, name := range []string{"queued", "unwilling", "late"} {
		jobs[name] = suspending(ns, name)
	}
	jobs["gated"] = job(ns, "gated", tolerant(), 1)
	for name, j := range jobs {
		create(t, cluster, j)
		if err := wantSuspended(true, v1alpha1.StateHeld)(j); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "queued" || name == "gated" {
			if got := j.Annotations[hold.KueueGatesAnnotation]; got != v1alpha1.Gate {
				t.Errorf("%s waits at its queue for %q", name, got)
			}
		}
	}
	if by := jobs["gated"].Annotations[v1alpha1.HeldByAnnotation]; by != v1alpha1.HoldByKueue {
		t.Errorf("what Gridlatch has not suspended is held by %q", by)
	}
	for _, name := range []string{"unwilling", "late"} {
		awaitJob(t, cluster, jobs[name], 5*time.Second, wantSuspended(false, v1alpha1.StateReleased))
	}
}
