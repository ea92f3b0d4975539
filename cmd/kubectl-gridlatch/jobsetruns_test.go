package main

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestExplainShowsThePlannedRunsOfAPausedJobSet(t *testing.T) {
	like := interruptible("training", v1alpha1.StateHeld, v1alpha1.PausedAnnotation, "2026-11-21T21:00:00Z", v1alpha1.PausesAnnotation, "1", v1alpha1.RanAnnotation, "2h",
		v1alpha1.FinishByAnnotation, "2026-11-23T06:00:00Z", v1alpha1.LatestStartAnnotation, "2026-11-22T23:50:00Z")
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": map[string]any{"suspend": true},
	}}
	o.SetNamespace(like.Namespace)
	o.SetName(like.Name)
	o.SetUID(like.UID)
	o.SetLabels(like.Labels)
	o.SetAnnotations(like.Annotations)
	o.SetCreationTimestamp(like.CreationTimestamp)
	connect, _ := fakeCluster(t, o)
	code, stdout, stderr := call(t, connect, "explain", "jobset", "training")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %s", code, stderr)
	}
	for _, want := range []string{"is paused until", "left        6h of work; each resume costs 10m", "▲ 05:00 resume"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}
