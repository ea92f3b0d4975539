package cluster

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestWorkThatSelectsCleanNodesAsksToWait(t *testing.T) {
	clean := corev1.PodSpec{NodeSelector: map[string]string{v1alpha1.CarbonStatusKey: v1alpha1.LowIntensity}}
	no := metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}}
	notHeld := metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.OutcomeAnnotation: v1alpha1.OutcomeNotHeld}}
	template := batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: clean}}
	for name, tt := range map[string]struct {
		o    client.Object
		want State
	}{
		"a pod":                   {&corev1.Pod{Spec: clean}, Undecided},
		"a pod that says no":      {&corev1.Pod{ObjectMeta: no, Spec: clean}, NotOptedIn},
		"a pod that was not held": {&corev1.Pod{ObjectMeta: notHeld, Spec: clean}, NotHeld},
		"a Job":                   {&batchv1.Job{Spec: template}, Undecided},
		"a Job that says no":      {&batchv1.Job{ObjectMeta: no, Spec: template}, NotOptedIn},
		"an ordinary pod":         {&corev1.Pod{}, NotOptedIn},
	} {
		if got := stateOf(tt.o); got != tt.want {
			t.Errorf("%s is %s, want %s", name, got, tt.want)
		}
	}
}
