package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/webhook"
)

const (
	admissionCalls = 20000
	admissionWarm  = 1000 // before them, not counted
)

// measureAdmission calls the webhook as its server does, one call after the other, with the review decoded already.
func measureAdmission(ctx context.Context) ([]float64, error) {
	hook, err := newWebhook(time.Now())
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(waiting(newPod("probe"), time.Now().Add(12*time.Hour)))
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	request := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: namespace, Name: "probe",
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Object: runtime.RawExtension{Raw: raw},
	}}
	log.Printf("admitting a pod of %d bytes %d times", len(raw), admissionCalls)
	took := make([]time.Duration, 0, admissionWarm+admissionCalls)
	for range cap(took) {
		started := time.Now()
		response := hook.Handle(ctx, request)
		took = append(took, time.Since(started))
		if !response.Allowed || len(response.Patch) == 0 {
			return nil, fmt.Errorf("the pod was not held: %+v", response)
		}
	}
	took = took[admissionWarm:]
	slices.Sort(took)
	log.Printf("admission: median %s, 99th percentile %s, most %s", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	return []float64{float64(took[len(took)*99/100]) / float64(time.Microsecond)}, nil
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
	policies := gating.Policies{Reader: objects{v1alpha1.Default()}, Clock: clock.RealClock{}}
	policy, err := policies.Get(context.Background(), "")
	if err != nil {
		return nil, err
	}
	store := &forecast.Store{}
	if err := store.Offer(policy.Source, issue, now); err != nil {
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
