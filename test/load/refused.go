package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	refusedPods    = 1000
	besideRefused  = 5000
	refusedMinutes = 3
	// stubborn is the label of the pods that may not be changed.
	stubborn = "stubborn"
)

// measureRefused lets pods go, alone and beside others that fall due at the same moment and that an admission policy
// keeps from being changed. It returns the rate beside them over the rate alone, and the most patches in a minute once
// that is over, none of which is of use.
func measureRefused(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.refuse(ctx); err != nil { // in both cases: the policy looks at each pod that is released
		return nil, err
	}
	alone, err := r.releaseOurs(ctx, besideRefused)
	if err != nil {
		return nil, err
	}
	if err := r.clear(ctx); err != nil {
		return nil, err
	}
	beside, err := r.releaseBeside(ctx)
	if err != nil {
		return nil, err
	}
	log.Printf("%d pods took %.2fs alone, %.2fs beside %d that are refused", besideRefused, alone.Seconds(), beside.Seconds(), refusedPods)
	most, err := r.patchesPerMinute(ctx)
	return []float64{alone.Seconds() / beside.Seconds(), most}, err
}

// releaseBeside is releaseOurs with pods beside those that may not be changed.
func (r *rig) releaseBeside(ctx context.Context) (time.Duration, error) {
	if err := r.holdDue(ctx, besideRefused); err != nil {
		return 0, err
	}
	deadline := time.Now().Add(12 * time.Hour)
	_, err := r.create(ctx, refusedPods, func(i int) *corev1.Pod {
		pod := waiting(newPod(fmt.Sprintf("%s-%d", stubborn, i)), deadline)
		pod.Labels[stubborn] = "true"
		return pod
	})
	if err != nil {
		return 0, err
	}
	if err := r.restart(ctx); err != nil {
		return 0, err
	}
	if err := r.awaitHeld(ctx, besideRefused+refusedPods); err != nil {
		return 0, err
	}
	released := func(o metav1.Object) bool { return o.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateReleased }
	return r.watchAll(ctx, podResource(), besideRefused, released, func(ctx context.Context) error {
		return r.cluster.Forecast(ctx, rising(time.Now())...)
	})
}

// refuse has the API server refuse whatever changes one of the pods that may not be changed.
func (r *rig) refuse(ctx context.Context) error {
	fail, meta := admissionv1.Fail, metav1.ObjectMeta{Name: stubborn}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy: &fail,
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
			RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"*"}, Resources: []string{"pods"}},
			},
		}}},
		Validations: []admissionv1.Validation{{Expression: fmt.Sprintf("!(%q in object.metadata.labels)", stubborn), Message: "it is not to be changed"}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: stubborn, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	client := r.clientset.AdmissionregistrationV1()
	if _, err := client.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create a policy: %w", err)
	}
	if _, err := client.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("bind a policy: %w", err)
	}
	return pause(ctx, policyDelay)
}

// patchesPerMinute returns the most patches of the controller in one of some minutes.
func (r *rig) patchesPerMinute(ctx context.Context) (most float64, err error) {
	if err := pause(ctx, 10*time.Second); err != nil { // until each was tried once
		return 0, err
	}
	patches := func() (float64, error) {
		return r.controller.Metric(ctx, "rest_client_requests_total", `method="PATCH"`)
	}
	before, err := patches()
	for minute := 0; minute < refusedMinutes && err == nil; minute++ {
		if err := pause(ctx, time.Minute); err != nil {
			return 0, err
		}
		var now float64
		now, err = patches()
		log.Printf("%.0f patches in minute %d", now-before, minute+1)
		most, before = max(most, now-before), now
	}
	return most, err
}
