package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
	"github.com/gridlatch/gridlatch/webhook"
)

const (
	admissionCalls = 20000
	admissionWarm  = 1000 // before them, not counted
)

// measureAdmission calls the webhook as its server does, one call after the other: a review goes in, an answer comes out.
func measureAdmission(ctx context.Context) ([]float64, error) {
	handler, err := newHandler(time.Now())
	if err != nil {
		return nil, err
	}
	body, err := reviewOf(waiting(newPod("probe"), time.Now().Add(12*time.Hour)))
	if err != nil {
		return nil, err
	}
	log.Printf("admitting a pod by a review of %d bytes, %d times", len(body), admissionCalls)
	took := make([]time.Duration, 0, admissionWarm+admissionCalls)
	for range cap(took) {
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, webhook.Path, bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		started := time.Now()
		handler.ServeHTTP(answer, request)
		took = append(took, time.Since(started))
		if _, err := patchOf(answer.Body.Bytes()); err != nil {
			return nil, err
		}
	}
	took = took[admissionWarm:]
	slices.Sort(took)
	log.Printf("admission: median %s, 99th percentile %s, most %s", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	return []float64{float64(took[len(took)*99/100]) / float64(time.Microsecond)}, nil
}

// reviewOf is what the API server sends about a pod.
func reviewOf(pod *corev1.Pod) ([]byte, error) {
	raw, err := json.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "0e1a2b3c", Operation: admissionv1.Create, Namespace: pod.Namespace, Name: pod.Name,
			Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Object: runtime.RawExtension{Raw: raw},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("encode review: %w", err)
	}
	return body, nil
}

// patchOf returns the patch in an answer by which a pod is held.
func patchOf(answer []byte) ([]byte, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return nil, fmt.Errorf("decode answer: %w: %.200s", err, answer)
	}
	if r := review.Response; r == nil || !r.Allowed || len(r.Patch) == 0 {
		return nil, fmt.Errorf("the pod was not held: %.200s", answer)
	}
	return review.Response.Patch, nil
}

// newHandler serves a webhook of newWebhook as the program does.
func newHandler(now time.Time) (http.Handler, error) {
	hook, err := newWebhook(now)
	if err != nil {
		return nil, err
	}
	counted := serving.NewMetrics(prometheus.NewRegistry(), time.Now)
	return serving.NewIntake(serving.ReviewLimits()).Reviews(webhook.Path, counted, hook.Handle), nil
}

// newWebhook makes a webhook with the default policy and a forecast by which it is better to wait.
func newWebhook(now time.Time) (*webhook.Webhook, error) {
	data, err := json.Marshal(falling(now))
	if err != nil {
		return nil, fmt.Errorf("encode forecast: %w", err)
	}
	issue, err := forecast.FromConfigMap(map[string][]byte{"data": data}, nil, "data", now)
	if err != nil {
		return nil, fmt.Errorf("read forecast: %w", err)
	}
	policies := policy.Policies{Reader: objects{v1alpha1.Default()}, Clock: clock.RealClock{}, Namespace: "gridlatch-system"}
	rules, err := policies.Get(context.Background(), "")
	if err != nil {
		return nil, err
	}
	store := &forecast.Store{}
	if err := store.Offer(rules.Source, issue, now); err != nil {
		return nil, fmt.Errorf("offer forecast: %w", err)
	}
	return &webhook.Webhook{
		Reader: policies.Reader, Policies: policies, Store: store, Clock: policies.Clock,
		Metrics: webhook.NewMetrics(prometheus.NewRegistry()),
	}, nil
}

// objects stands for the controller's cache: every CarbonPolicy is the one given, copied as a cache does, and every
// other object exists and says nothing.
type objects struct{ policy *v1alpha1.CarbonPolicy }

// Get implements client.Reader.
func (o objects) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if policy, ok := into.(*v1alpha1.CarbonPolicy); ok {
		o.policy.DeepCopyInto(policy)
	}
	return nil
}

// List implements client.Reader.
func (o objects) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	if list, ok := into.(*v1alpha1.CarbonPolicyList); ok {
		list.Items = []v1alpha1.CarbonPolicy{*o.policy.DeepCopy()}
	}
	return nil
}
