package serving

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// reviewOf is what the API server sends about an object.
func reviewOf(t testing.TB, object string) []byte {
	t.Helper()
	raw, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "u", Kind: metav1.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"},
			RequestKind: &metav1.GroupVersionKind{Kind: "Other"}, Name: "n", Namespace: "ns", SubResource: "status",
			Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(object)}, DryRun: new(bool),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAReviewIsAnswered(t *testing.T) {
	var got Review
	m := NewMetrics(prometheus.NewRegistry(), time.Now)
	h := NewIntake(ReviewLimits()).Reviews("/x", m, func(_ context.Context, r Review) *admissionv1.AdmissionResponse {
		r.Object = bytes.Clone(r.Object)
		got = r
		return &admissionv1.AdmissionResponse{Allowed: true, Warnings: []string{"w"}}
	})
	w := post(h, bytes.NewReader(reviewOf(t, `{"a":["<",1]}`)))
	want := Review{
		UID: "u", Kind: metav1.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}, Operation: admissionv1.Create,
		SubResource: "status", Namespace: "ns", Name: "n", Object: []byte(`{"a":["\u003c",1]}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatal(err, w.Code)
	}
	wantAnswer := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Response: &admissionv1.AdmissionResponse{UID: types.UID("u"), Allowed: true, Warnings: []string{"w"}},
	}
	if diff := cmp.Diff(wantAnswer, answer); diff != "" {
		t.Error(diff)
	}
	post(h, strings.NewReader("{}"))
	for _, outcome := range []string{"answered", "refused"} {
		if n := testutil.ToFloat64(m.reviews.WithLabelValues("/x", outcome)); n != 1 {
			t.Errorf("%v %s are counted, want 1", n, outcome)
		}
	}
}

func TestWhatIsNoReviewIsRefused(t *testing.T) {
	const v1 = `"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"`
	for name, tt := range map[string]struct{ body, want string }{
		"nothing":             {"", "EOF"},
		"no object":           {"[]", "review: want {, not ["},
		"another version":     {`{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{}}`, `want an AdmissionReview of admission.k8s.io/v1`},
		"no version":          {`{"request":{}}`, "want an AdmissionReview"},
		"no request":          {"{" + v1 + "}", "request: want one"},
		"an answer":           {"{" + v1 + `,"request":null,"response":{}}`, "request: want one"},
		"a request twice":     {"{" + v1 + `,"request":{},"request":{}}`, "review.request: want it once"},
		"an object twice":     {"{" + v1 + `,"request":{"object":{},"object":{}}}`, "request.object: want it once"},
		"a name that is none": {"{" + v1 + `,"request":{"name":7}}`, "request.name: want a string, not number"},
		"a name without end":  {"{" + v1 + `,"request":{"name":"` + strings.Repeat("x", maxNameBytes) + `"}}`, "request.name: want at most 4 KiB"},
		"more behind it":      {"{" + v1 + `,"request":{}}{}`, "nothing after it"},
		"deeply nested":       {"{" + v1 + `,"request":{"object":` + strings.Repeat("[", 1<<20), "exceeded max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewIntake(ReviewLimits()).Reviews("/x", NewMetrics(prometheus.NewRegistry(), time.Now), func(context.Context, Review) *admissionv1.AdmissionResponse {
				return &admissionv1.AdmissionResponse{}
			})
			if w := post(h, strings.NewReader(tt.body)); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("status %d: %.200s", w.Code, w.Body)
			}
		})
	}
}
