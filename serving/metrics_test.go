package serving

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
)

func TestTheTimeOfReviewsIsMeasuredAndFailuresStartAtZero(t *testing.T) {
	registry, now := prometheus.NewRegistry(), time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	h := NewIntake(ReviewLimits()).Reviews("/x", NewMetrics(registry, func() time.Time { return now }), func(context.Context, Review) *admissionv1.AdmissionResponse {
		now = now.Add(2 * time.Second)
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	if w := post(h, strings.NewReader(string(reviewOf(t, `{}`)))); w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	const want = `
# HELP gridlatch_reviews_total Requests to the webhook, by path and outcome. Outcomes: answered, refused (the AdmissionReview was not valid, too large or too slow), busy (there were too many requests at once).
# TYPE gridlatch_reviews_total counter
gridlatch_reviews_total{outcome="answered",path="/x"} 1
gridlatch_reviews_total{outcome="busy",path="/x"} 0
gridlatch_reviews_total{outcome="refused",path="/x"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "gridlatch_reviews_total"); err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "gridlatch_review_seconds" {
			if got := family.GetMetric()[0].GetHistogram().GetSampleSum(); got != 2 {
				t.Errorf("the review took %v s, want 2", got)
			}
			return
		}
	}
	t.Error("the time of reviews is not measured")
}
