package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// forgedNames is how many policies that do not exist are named.
const forgedNames = 200

// measureForgedSeries counts the series of /metrics that are left once pods and Jobs are gone that carried our label and
// the names of policies that do not exist.
func measureForgedSeries(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.install(ctx); err != nil {
		return nil, err
	}
	if err := r.forge(ctx, "first", 1); err != nil { // what comes with the first of all writes is not meant
		return nil, err
	}
	before, err := r.series(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.forge(ctx, "no-such", forgedNames); err != nil {
		return nil, err
	}
	after, err := r.series(ctx)
	log.Printf("%d series before, and %d after", before, after)
	return []float64{float64(after - before)}, err
}

// forge makes pods and Jobs that name as many policies, and deletes them once the controller has let them go.
func (r *rig) forge(ctx context.Context, prefix string, n int) error {
	log.Printf("forging %d names of policies", n)
	deadline := time.Now().Add(12 * time.Hour)
	err := parallel(ctx, n, func(ctx context.Context, i int) error {
		name := prefix + "-" + strconv.Itoa(i)
		pod := waiting(newPod(name), deadline)
		if _, err := r.clientset.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create a pod: %w", err)
		}
		policy := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.PolicyAnnotation, name)
		if _, err := r.clientset.CoreV1().Pods(namespace).Patch(ctx, name, types.MergePatchType, policy, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("name a policy: %w", err)
		}
		return r.claim(ctx, name, map[string]string{v1alpha1.PolicyAnnotation: name})
	})
	if err != nil {
		return err
	}
	if err := poll(ctx, patience, func(ctx context.Context) error { return r.forgedLeft(ctx, v1alpha1.StateLabel+"="+v1alpha1.StateHeld) }); err != nil {
		return err
	}
	options, none := metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0)), PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}, metav1.ListOptions{LabelSelector: v1alpha1.StateLabel}
	if err := r.clientset.BatchV1().Jobs(namespace).DeleteCollection(ctx, options, none); err != nil {
		return fmt.Errorf("delete jobs: %w", err)
	}
	if err := r.clientset.CoreV1().Pods(namespace).DeleteCollection(ctx, options, none); err != nil {
		return fmt.Errorf("delete pods: %w", err)
	}
	return poll(ctx, patience, func(ctx context.Context) error { return r.forgedLeft(ctx, v1alpha1.StateLabel) })
}

// forgedLeft returns an error as long as there are pods or Jobs of ours that are selected, or held by what the
// controller knows.
func (r *rig) forgedLeft(ctx context.Context, selector string) error {
	pods, err := r.clientset.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	jobs, err := r.clientset.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	held, err := r.controller.Metric(ctx, "gridlatch_held_groups")
	if err == nil && len(pods.Items)+len(jobs.Items)+int(held) > 0 {
		err = fmt.Errorf("%d pods, %d jobs and %v held groups are left", len(pods.Items), len(jobs.Items), held)
	}
	return err
}

// series counts those that the controller exports.
func (r *rig) series(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.controller.Metrics+"/metrics", nil)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n, nil
}
